package layer

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// The integrity trailer follows the last block of the index; what is before it is covered by checksums:
//
//	block    0 …         covered/8192                            last
//	        +-----------+-------------------------------+--------+
//	        | the layer | sums of 1023 chunks per block | footer |
//	        +-----------+-------------------------------+--------+
//	sums     0                                     8184
//	        +--------+--------+- - - - - +--------+-----------+
//	        | XXH64  | XXH64  |          | XXH64  | block sum |       of chunks in order, zeros behind the last
//	        +--------+--------+- - - - - +--------+-----------+
//	footer   0          8             12        16         24          32          40           44      8184
//	        +----------+-------------+---------+----------+-----------+-----------+------------+-------+-----------+
//	        | STRATACK | version u32 | chunk   | covered  | chunks    | summary's | generation | zeros | block sum |
//	        |          | = 1         | u32     | u64      | u64       | XXH64     | u32        |       |           |
//	        +----------+-------------+---------+----------+-----------+-----------+------------+-------+-----------+
//
// A chunk's sum is its XXH64 with seed 0. A block sum is the XXH64 of the 8184 bytes before it, its seed the
// summary's XXH64 plus the block's number in the trailer: so a trailer, or a block of one, that belongs to
// another file or place is found. The footer alone vouches for the summary, which says whose the file is.
//
// As an index block the footer would have 21,332 entries: no root can be mistaken for it.
const (
	trailerMagic   = "STRATACK"
	trailerVersion = 1
	sumSize        = 8
	blockSumAt     = blockSize - sumSize
	sumsPerBlock   = blockSumAt / sumSize
	minChunk       = 1 << 10
	maxChunk       = blockSize
)

// checksums is the layout of a file's integrity trailer, as its footer has it.
type checksums struct {
	chunkSize int    // a power of two, minChunk to maxChunk
	covered   int64  // bytes before the trailer, whole blocks
	identity  uint64 // XXH64 of the summary's block; the base of all seeds
	// generation is the file's, which its summary has not: two files that differ in it alone are not mistaken
	// for each other.
	generation uint32
}

// parseFooter reads a footer from the last block of a file of size bytes. It gives false if that block is
// none, which says nothing yet: see openTrailer. An error says that it is one, and damaged.
func parseFooter(file string, tail []byte, size int64) (checksums, bool, error) {
	at := size - blockSize
	if len(tail) != blockSize || at < minBlocks*blockSize || string(tail[:len(trailerMagic)]) != trailerMagic {
		return checksums{}, false, nil
	}
	be := binary.BigEndian
	c := checksums{chunkSize: int(be.Uint32(tail[12:])), covered: int64(be.Uint64(tail[16:])),
		identity: be.Uint64(tail[32:]), generation: be.Uint32(tail[40:])}
	chunks := be.Uint64(tail[24:])
	// The sum comes first: without it, no field can be blamed.
	if c.covered < 0 || c.covered >= size || blockSum(tail, c.identity+uint64((at-c.covered)/blockSize)) != be.Uint64(tail[blockSumAt:]) {
		return checksums{}, true, corruptf(file, at, "checksum of the integrity footer is wrong")
	}
	switch {
	case be.Uint32(tail[8:]) != trailerVersion:
		return checksums{}, true, corruptf(file, at, "integrity trailer of version %d, only %d is known", be.Uint32(tail[8:]), trailerVersion)
	case c.chunkSize < minChunk || c.chunkSize > maxChunk || bits.OnesCount(uint(c.chunkSize)) != 1:
		return checksums{}, true, corruptf(file, at, "checksums of chunks of %d bytes; a power of two from %d to %d is possible", c.chunkSize, minChunk, maxChunk)
	case c.covered%blockSize != 0 || chunks != uint64(c.chunks()) || c.fileSize() != size:
		return checksums{}, true, corruptf(file, at, "checksums of %d chunks in %d bytes, in a file of %d", chunks, c.covered, size)
	}
	return c, true, nil
}

// openTrailer decides whether a file has a trailer, from its first block and what that says, its last block
// and its length: it has one if its last block says so, or if the summary ends before the file does, or if
// promised (by the manifest). No damage to any of these makes a file seem to be without.
func openTrailer(file string, first []byte, s *summary, tail []byte, size int64, promised bool) (checksums, bool, error) {
	c, has, err := parseFooter(file, tail, size)
	switch {
	case err != nil:
		return c, has, err
	case has && c.identity != xxhash.Sum64(first):
		return c, true, corruptf(file, 0, "checksum of the summary is wrong, or the integrity trailer is another file's")
	case has && c.covered != s.size():
		return c, true, corruptf(file, size-blockSize, "checksums cover %d bytes, the summary speaks of %d", c.covered, s.size())
	case !has && (promised || size > s.size()):
		return c, false, corruptf(file, size-blockSize, "the integrity footer is missing")
	}
	return c, has, nil
}

// checkSize refuses a length that no layer has, or another than the manifest says.
func checkSize(file string, d Desc, size int64) error {
	switch {
	case d.Size > 0 && size != d.Size:
		return corruptf(file, size, "the file has %d bytes, the manifest says %d", size, d.Size)
	case size%blockSize != 0 || size < minBlocks*blockSize:
		return corruptf(file, size, "no layer has %d bytes", size)
	}
	return nil
}

// parseEnds reads the first and the last block of a file whose length checkSize has passed, and compares
// them with each other, the file's name and the tenant.
func parseEnds(file string, id Identity, d Desc, size int64, first, tail []byte) (s summary, c checksums, checked bool, err error) {
	if s, err = parseSummary(first); err != nil {
		return s, c, false, corruptf(file, 0, "%v", err)
	}
	if c, checked, err = openTrailer(file, first, &s, tail, size, d.Checked); err != nil {
		return s, c, checked, err
	}
	if checked {
		size = c.covered
		if c.generation != d.Generation {
			return s, c, checked, corruptf(file, 0, "the file is generation %08x's, the one that is wanted %08x's", c.generation, d.Generation)
		}
	}
	if err := s.check(id, d, size); err != nil {
		return s, c, checked, corruptf(file, 0, "%v", err)
	}
	return s, c, checked, nil
}

// chunk gives how many bytes a checksum is over.
func (c *checksums) chunk() int { return c.chunkSize }

// chunks and blocks count checksums and the blocks that hold them.
func (c *checksums) chunks() int64 { return c.covered / int64(c.chunkSize) }
func (c *checksums) blocks() int64 { return (c.chunks() + sumsPerBlock - 1) / sumsPerBlock }

// fileSize is the length of the whole file.
func (c *checksums) fileSize() int64 { return c.covered + (c.blocks()+1)*blockSize }

// blockOf gives the block of the file that holds the checksum of a chunk, and where in it.
func (c *checksums) blockOf(chunk int64) (blk int64, off int) {
	return c.covered/blockSize + chunk/sumsPerBlock, int(chunk%sumsPerBlock) * sumSize
}

// checkBlock checks block blk of the file, one of checksums, against its own. Only then may verify see it.
func (c *checksums) checkBlock(file string, blk int64, b []byte) error {
	n := blk - c.covered/blockSize
	if n < 0 || n >= c.blocks() || len(b) != blockSize {
		return corruptf(file, blk*blockSize, "no checksums lie here")
	}
	if blockSum(b, c.identity+uint64(n)) != binary.BigEndian.Uint64(b[blockSumAt:]) {
		return corruptf(file, blk*blockSize, "a block of checksums is damaged")
	}
	return nil
}

// verify checks b, the whole chunks of the file from off on, against their checksums. sums gives the blocks
// that hold them, which checkBlock has passed; each is asked for once.
func (c *checksums) verify(file string, off int64, b []byte, sums func(blk int64) []byte) error {
	size := c.chunkSize
	if off < 0 || off%int64(size) != 0 || len(b)%size != 0 || off+int64(len(b)) > c.covered {
		return corruptf(file, off, "%d bytes are no chunks of the %d under checksums", len(b), c.covered)
	}
	for len(b) > 0 {
		blk, at := c.blockOf(off / int64(size))
		want := sums(blk)[at:blockSumAt]
		n := min(len(want)/sumSize, len(b)/size)
		if err := c.compare(file, off, b[:n*size], want[:n*sumSize]); err != nil {
			return err
		}
		off, b = off+int64(n*size), b[n*size:]
	}
	return nil
}

// sumsAtOnce is for how many chunks a read of one image has the sums at hand: a page of 8 KiB lies in nine.
const sumsAtOnce = 12

// compare checks whole chunks of the file from off on against their sums.
func (c *checksums) compare(file string, off int64, b, want []byte) error {
	size := c.chunkSize
	for ; len(b) > 0; off, b, want = off+int64(size), b[size:], want[sumSize:] {
		if xxhash.Sum64(b[:size]) != binary.BigEndian.Uint64(want) {
			return corruptf(file, off, "the checksum of these %d bytes is wrong", size)
		}
	}
	return nil
}

// blockSum gives the sum with which a block of the trailer ends.
func blockSum(b []byte, seed uint64) uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(seed)
	_, _ = d.Write(b[:blockSumAt])
	return d.Sum64()
}

// appendFooter appends the footer.
func (c *checksums) appendFooter(b []byte) []byte {
	start := len(b)
	be := binary.BigEndian
	b = append(b, trailerMagic...)
	b = be.AppendUint32(b, trailerVersion)
	b = be.AppendUint32(b, uint32(c.chunkSize))
	b = be.AppendUint64(b, uint64(c.covered))
	b = be.AppendUint64(b, uint64(c.chunks()))
	b = be.AppendUint64(b, c.identity)
	b = be.AppendUint32(b, c.generation)
	b = append(b, make([]byte, blockSize-(len(b)-start))...)
	c.seal(b[start:], c.blocks())
	return b
}

// seal ends the n-th block of the trailer with its sum.
func (c *checksums) seal(b []byte, n int64) {
	binary.BigEndian.PutUint64(b[blockSumAt:], blockSum(b, c.identity+uint64(n)))
}
