package layer

import (
	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

var _ source = (*Reader)(nil)

func (r *Reader) key(blk int64) cache.Key { return cache.Key{File: r.id, Block: uint32(blk)} }

func (r *Reader) handle() *virtualfile.Handle { return r.file }

func (r *Reader) unit() int {
	if r.desc.Checked {
		return r.sums.chunk()
	}
	return 1
}

// end is where the index ends.
func (r *Reader) end() int64 { return r.sum.size() }

func (r *Reader) verify(off int64, b []byte, sums func(blk int64) []byte) error {
	if !r.desc.Checked {
		return nil
	}
	return r.sums.verify(r.file.Name(), off, b, sums)
}

func (r *Reader) sumBlocks(off, end int64) (first, last int64) {
	if !r.desc.Checked {
		return 0, -1
	}
	first, _ = r.sums.blockOf(off / int64(r.sums.chunk()))
	last, _ = r.sums.blockOf((end - 1) / int64(r.sums.chunk()))
	return first, last
}

// sumEnd gives where the chunks end whose checksums block blk holds.
func (r *Reader) sumEnd(blk int64) int64 {
	first, _ := r.sums.blockOf(0)
	return min((blk-first+1)*sumsPerBlock*int64(r.sums.chunk()), r.end())
}

func (r *Reader) cachedSum(blk int64) (cache.Pin, bool) { return r.blocks.TryGet(r.key(blk)) }

func (r *Reader) keepSum(blk int64, b []byte) error {
	if err := r.sums.checkBlock(r.file.Name(), blk, b); err != nil {
		return err
	}
	r.blocks.Add(r.key(blk), cache.Checksums, b)
	return nil
}

// value takes a blob apart. Blobs lie back to back, so the next one's place checks this one's length.
func (r *Reader) value(lsn page.LSN, start int64, raw []byte, room *arena) ([]byte, error) {
	s, err := r.blobOf(lsn, start, raw)
	if err != nil || !s.Zstd {
		return s.Data, err
	}
	out, err := decompress(s.Data, r.desc.Checked, room.alloc)
	if err != nil {
		return nil, corruptf(r.file.Name(), start, "value at LSN %s: %v", lsn, err)
	}
	return out, nil
}

// blobOf takes the blob at start out of raw, which reaches to the next one.
func (r *Reader) blobOf(lsn page.LSN, start int64, raw []byte) (Stored, error) {
	s, size, err := parseBlob(raw)
	if err != nil {
		return Stored{}, corruptf(r.file.Name(), start, "value at LSN %s: %v", lsn, err)
	}
	last := start+int64(len(raw)) == r.dataEnd() // then there is padding
	if gap := len(raw) - size; gap != 0 && !(last && gap < blockSize) {
		return Stored{}, corruptf(r.file.Name(), start, "value at LSN %s: blob of %d bytes where %d lie before the next", lsn, size, len(raw))
	}
	return s, nil
}
