package layer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cespare/xxhash/v2"

	shares "github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/virtualfile"
)

const (
	// segmentSize is the piece in which a blockList takes memory and writes and reads its file.
	segmentSize = 256 << 10
	// DefaultIndexMemory is what a writer keeps of the index in memory, and as much again of the checksums: that
	// of 256 MiB of small values at the least. What is beyond goes through a temporary file.
	DefaultIndexMemory = 32 << 20
	// maxTempNames bounds the search for a temporary name that no leftover has.
	maxTempNames = 1000
)

// blockList gathers the blocks of a file whose place is behind bytes that are still to come: those of the
// index, and those of checksums. The first ones stay in memory; beyond a limit, or where the budget has
// nothing left, blocks go to a temporary file, from which they come back checked.
type blockList struct {
	disk   *virtualfile.Disk
	temp   string // the start of the temporary file's name
	budget *shares.Share
	limit  int // segments kept in memory, the first in any case

	n     int
	kept  []*virtualfile.Buffer
	room  []byte              // what is left of the last segment
	spill *spillFile          // nil while all is kept
	last  *virtualfile.Buffer // the segment being filled, once there is a spill
	err   error
}

func newBlockList(d *virtualfile.Disk, temp string, o *WriterOptions) *blockList {
	return &blockList{disk: d, temp: temp, budget: o.Budget, limit: int(o.indexMemory() / segmentSize)}
}

// next gives a block of unspecified content, to be filled before the call after this one. It gives nil after
// an error, which err then has.
func (l *blockList) next() []byte {
	if len(l.room) == 0 {
		if l.err == nil {
			l.err = l.grow()
		}
		if l.err != nil {
			return nil
		}
	}
	b := l.room[:blockSize:blockSize]
	l.room = l.room[blockSize:]
	l.n++
	return b
}

// grow provides an empty segment.
func (l *blockList) grow() error {
	switch {
	case l.spill != nil:
		if err := l.spill.put(l.last.Bytes()); err != nil {
			return err
		}
		l.room = l.last.Bytes()
		return nil
	case len(l.kept) == 0 || len(l.kept) < l.limit && l.budget.TryAcquire(segmentSize):
		b := l.disk.Buffers().Get(segmentSize)
		l.kept, l.room = append(l.kept, b), b.Bytes()
		return nil
	}
	var err error
	if l.spill, err = newSpillFile(l.disk, l.temp); err != nil {
		return err
	}
	l.last = l.disk.Buffers().Get(segmentSize)
	l.room = l.last.Bytes()
	return nil
}

// each gives all blocks in order, a segment at a time, which fn may change. No block can be added after it.
func (l *blockList) each(ctx context.Context, fn func(blocks []byte) error) error {
	if l.err != nil {
		return l.err
	}
	left := l.n * blockSize
	give := func(b []byte) error {
		b = b[:min(left, len(b))]
		left -= len(b)
		return fn(b)
	}
	for _, b := range l.kept {
		if err := give(b.Bytes()); err != nil {
			return err
		}
	}
	if l.spill == nil {
		return nil
	}
	if err := l.spill.each(ctx, l.disk, give); err != nil {
		return err
	}
	return give(l.last.Bytes())
}

// release gives memory back and removes the temporary file. It may be called again.
func (l *blockList) release() {
	for i, b := range l.kept {
		b.Release()
		if i > 0 {
			l.budget.Release(segmentSize)
		}
	}
	if l.last != nil {
		l.last.Release()
	}
	if l.spill != nil {
		l.spill.remove()
	}
	l.kept, l.room, l.last, l.spill, l.err = nil, nil, nil, nil, errFinished
}

// spillFile is a temporary file of whole segments. It needs no sync: no crash leaves a use for it.
type spillFile struct {
	file *virtualfile.Handle
	out  *virtualfile.Writer
	sums []uint64 // of each segment
}

func newSpillFile(d *virtualfile.Disk, temp string) (*spillFile, error) {
	f, err := createTemp(d, temp)
	if err != nil {
		return nil, err
	}
	return &spillFile{file: f, out: virtualfile.NewWriter(f, virtualfile.WriterOptions{})}, nil
}

func (s *spillFile) put(segment []byte) error {
	s.sums = append(s.sums, xxhash.Sum64(segment))
	_, err := s.out.Write(segment)
	return err
}

// each reads the file from its start.
func (s *spillFile) each(ctx context.Context, d *virtualfile.Disk, fn func(segment []byte) error) error {
	if _, err := s.out.FinishContext(ctx, blockSize); err != nil {
		return err
	}
	b := d.Buffers().Get(segmentSize)
	defer b.Release()
	for i, sum := range s.sums {
		off := int64(i) * segmentSize
		if err := readExactly(ctx, d, []virtualfile.Read{{File: s.file, Off: off, Buf: b, Len: segmentSize}}); err != nil {
			return err
		}
		if xxhash.Sum64(b.Bytes()[:segmentSize]) != sum {
			return corruptf(s.file.Name(), off, "what was set aside while the layer was written came back changed")
		}
		if err := fn(b.Bytes()[:segmentSize]); err != nil {
			return err
		}
	}
	return nil
}

func (s *spillFile) remove() {
	s.out.Abort()
	// A leftover is harmless: the name says that it is temporary.
	_ = s.file.Close()
	_ = s.file.Disk().Remove(s.file.Name())
}

// createTemp makes a file with a temporary name that begins with base.
func createTemp(d *virtualfile.Disk, base string) (f *virtualfile.Handle, err error) {
	for n := range maxTempNames {
		f, err = d.Create(fmt.Sprintf("%s.%x%s", base, n, virtualfile.TempSuffix))
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, err
}
