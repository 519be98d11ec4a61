package basebackup

import (
	"encoding/binary"
	"fmt"

	"github.com/stratapg/strata/pg"
)

// An incremental file has the blocks that have changed of a file of the same name, which is without the prefix
// (backup/basebackup_incremental.h), all numbers little-endian:
//
//	magic u32, number of blocks u32, truncation length u32, block numbers u32 each, zeros up to a multiple of 8192 if
//	there are blocks, and the blocks in the order of their numbers
//
// Blocks below the truncation length that it has not are those of the backup before; at and above it they are zeros.
const (
	incrementalPrefix = "INCREMENTAL."
	incrementalMagic  = 0xd3ae1f0d
	incrementalHeader = 12
)

// incrementalHeaderSize is the length of what comes before the blocks.
func incrementalHeaderSize(blocks uint32) int64 {
	n := int64(incrementalHeader) + 4*int64(blocks)
	if blocks > 0 {
		n = (n + pg.BlockSize - 1) / pg.BlockSize * pg.BlockSize
	}
	return n
}

// header makes what comes before the blocks of a piece: at most 0.5 MiB.
func (p *piece) header() []byte {
	le := binary.LittleEndian
	h := make([]byte, 0, incrementalHeaderSize(p.count))
	h = le.AppendUint32(h, incrementalMagic)
	h = le.AppendUint32(h, p.count)
	h = le.AppendUint32(h, p.blocks)
	for first, n := range p.changes.runs(p.first, p.first+p.blocks) {
		for i := range n {
			h = le.AppendUint32(h, first-p.first+i)
		}
	}
	return h[:cap(h)][:incrementalHeaderSize(p.count)]
}

// incrementalFile is what a header says.
type incrementalFile struct {
	truncation uint32
	numbers    []uint32 // ascending
	data       int64    // where the blocks begin
}

// parseIncremental reads a header with read, of a file of size bytes.
func parseIncremental(size int64, read func(b []byte, off int64) error) (f incrementalFile, err error) {
	le := binary.LittleEndian
	var h [incrementalHeader]byte
	if size < incrementalHeader {
		return f, fmt.Errorf("%d bytes are too few for an incremental file", size)
	}
	if err := read(h[:], 0); err != nil {
		return f, err
	}
	n := le.Uint32(h[4:])
	f.truncation = le.Uint32(h[8:])
	if le.Uint32(h[:]) != incrementalMagic || n > pg.RelSegBlocks || f.truncation > pg.RelSegBlocks {
		return f, fmt.Errorf("no incremental file: it begins with %x", h)
	}
	f.data = incrementalHeaderSize(n)
	if want := f.data + int64(n)*pg.BlockSize; size != want {
		return f, fmt.Errorf("an incremental file of %d blocks has %d bytes, want %d", n, size, want)
	}
	b := make([]byte, 4*n)
	if err := read(b, incrementalHeader); err != nil {
		return f, err
	}
	for i := range int(n) {
		number := le.Uint32(b[4*i:])
		if number >= pg.RelSegBlocks || i > 0 && number <= f.numbers[i-1] {
			return f, fmt.Errorf("an incremental file's blocks are not in order: number %d at place %d", number, i)
		}
		f.numbers = append(f.numbers, number)
	}
	return f, nil
}
