package layer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

const (
	// spillDepth is how many chunks of a layer are on their way to disk at most: one is written while the next
	// is being filled or waits. So many chunks, and the open one, a layer may have beyond the budget.
	spillDepth = 2
	// memSumBytes is how many bytes of an ephemeral file have a checksum: what any device reads at once.
	memSumBytes = virtualfile.BufferAlign
)

var errLogFull = fmt.Errorf("its values would exceed %d bytes; freeze it", int64(maxLog))

// memFile is an ephemeral file: chunks of a layer's values, each at its offset in the log. It is never synced,
// and worth nothing after a crash; its name says that it is temporary. Checksums are kept in memory.
type memFile struct {
	noSums
	pool   *MemPool
	number uint64 // of the pool's files
	h      *virtualfile.Handle
	shift  uint
	mu     sync.RWMutex
	sums   map[int64][]uint64 // of chunks, by their number
}

// memSpiller moves the chunks of a layer to its ephemeral file, oldest first. It belongs to the writer.
type memSpiller struct {
	m      *Mem
	next   int // what is below this number is in a file, if not on its way there
	flying []*memSpill
	file   *memFile // nil before the first, and after a failed write: then another is begun
	files  []*memFile
	err    error // why the last try failed
}

// memSpill is a chunk on its way. done is closed when err says how it ended.
type memSpill struct {
	slot int
	file *memFile
	done chan struct{}
	err  error
}

func (s *memSpiller) init(m *Mem) { s.m = m }

// room gives a block for n bytes. If the budget has none left, chunks of this layer go to disk.
func (s *memSpiller) room(ctx context.Context, n int) (memBlock, error) {
	pool := s.m.pool
	for failed := false; ; {
		if err := ctx.Err(); err != nil {
			return memBlock{}, err
		}
		if b, ok := pool.take(n, !pool.spills()); ok {
			return b, nil
		}
		if s.reap() {
			failed = failed || s.err != nil
			continue
		}
		values := &s.m.mu.values
		started := !failed && len(s.flying) < spillDepth && s.start()
		switch {
		case started && s.err == nil && values.beyond <= spillDepth<<values.shift:
			// It ends soon. After failures there is more in memory, and the next case waits for it to go.
			b, _ := pool.take(n, true)
			return b, nil
		case len(s.flying) > 0:
			select {
			case <-s.flying[0].done:
			case <-ctx.Done():
				return memBlock{}, ctx.Err()
			}
		case s.err == nil:
			// Nothing of this layer is in memory: others have the budget.
			b, _ := pool.take(n, true)
			return b, nil
		case pool.beyond()+int64(n) <= pool.o.Grace:
			b, _ := pool.take(n, true)
			return b, nil
		default:
			return memBlock{}, fmt.Errorf("no memory is left for it, and values cannot be written to disk: %w", s.err)
		}
	}
}

// start sends the oldest chunk in memory on its way. It gives false if there is none.
func (s *memSpiller) start() bool {
	chunks := s.m.mu.values.chunks
	for s.next < len(chunks) && chunks[s.next].block.Buffer == nil {
		s.next++
	}
	slot := s.next
	for ; slot < len(chunks); slot++ {
		if chunks[slot].block.Buffer != nil && !s.isFlying(slot) {
			break
		}
	}
	if slot == len(chunks) || s.m.writer.tail.open && slot == s.m.writer.tail.slot {
		return false
	}
	if s.file == nil {
		f, err := s.m.pool.newFile(s.m.mu.values.shift)
		if err != nil {
			s.err = err
			return false
		}
		s.file, s.files = f, append(s.files, f)
	}
	j := &memSpill{slot: slot, file: s.file, done: make(chan struct{})}
	c := chunks[slot]
	s.flying = append(s.flying, j)
	// Bounded by spillDepth; whoever freezes or releases the layer waits for it.
	go func() {
		defer close(j.done)
		j.err = j.file.write(int64(j.slot), c.block.Buffer, c.n)
	}()
	return true
}

func (s *memSpiller) isFlying(slot int) bool {
	for _, j := range s.flying {
		if j.slot == slot {
			return true
		}
	}
	return false
}

// reap does what follows the writes that have ended, and reports whether there were any.
func (s *memSpiller) reap() (any bool) {
	for len(s.flying) > 0 {
		select {
		case <-s.flying[0].done:
			s.finish(s.flying[0])
			s.flying = s.flying[1:]
			any = true
		default:
			return any
		}
	}
	return any
}

// wait waits for all writes.
func (s *memSpiller) wait() {
	for _, j := range s.flying {
		<-j.done
		s.finish(j)
	}
	s.flying = nil
}

// finish frees the memory of a chunk that is in its file. After a failed write the file gets no more: what
// is in it is checked when it is read, and what is still in memory goes into another.
func (s *memSpiller) finish(j *memSpill) {
	s.err = j.err
	if j.err != nil {
		s.m.pool.count(func(st *MemStats) { st.SpillErrors++ })
		if s.file == j.file {
			s.file = nil
		}
		s.forget(j.file)
		return
	}
	s.m.mu.Lock()
	c := &s.m.mu.values.chunks[j.slot]
	b := c.block
	c.block, c.file = memBlock{}, j.file
	s.m.mu.values.hold(b, -1)
	s.m.mu.Unlock()
	s.m.pool.give(b, true)
}

// forget removes a file in which nothing is, so that failures do not leave more and more of them.
func (s *memSpiller) forget(f *memFile) {
	if f.used() {
		return
	}
	for i, o := range s.files {
		if o == f {
			s.files = append(s.files[:i], s.files[i+1:]...)
			f.remove()
			return
		}
	}
}

// remove removes all files.
func (s *memSpiller) remove() {
	for _, f := range s.files {
		f.remove()
	}
	s.files, s.file = nil, nil
}

// maxEphemeralNames bounds the search for a name that no leftover has.
const maxEphemeralNames = 1000

func (p *MemPool) newFile(shift uint) (*memFile, error) {
	for range maxEphemeralNames {
		number := p.files.Add(1)
		name := filepath.Join(p.o.Dir, fmt.Sprintf("%s%08x%s", ephemeralPrefix, number, virtualfile.TempSuffix))
		h, err := p.o.Disk.Create(name)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p.count(func(s *MemStats) { s.Files++ })
		return &memFile{pool: p, number: number, h: h, shift: shift, sums: make(map[int64][]uint64)}, nil
	}
	return nil, fmt.Errorf("%s: %d names for an ephemeral file are taken", p.o.Dir, maxEphemeralNames)
}

// write puts a chunk into the file: n bytes of b, and zeros up to the next multiple of memSumBytes.
func (f *memFile) write(slot int64, b *virtualfile.Buffer, n int) error {
	size := (n + memSumBytes - 1) &^ (memSumBytes - 1)
	clear(b.Bytes()[n:size])
	sums := make([]uint64, 0, size/memSumBytes)
	for p := b.Bytes()[:size]; len(p) > 0; p = p[memSumBytes:] {
		sums = append(sums, xxhash.Sum64(p[:memSumBytes]))
	}
	if err := f.h.WriteAt(b, 0, size, slot<<f.shift); err != nil {
		return fmt.Errorf("write %d bytes at %d of ephemeral file %s: %w", size, slot<<f.shift, f.h.Name(), err)
	}
	f.mu.Lock()
	f.sums[slot] = sums
	f.mu.Unlock()
	f.pool.count(func(s *MemStats) { s.Spilled += int64(size); s.Written += int64(size) })
	return nil
}

// cut forgets the chunks from a number on: their values were not taken.
func (f *memFile) cut(chunks int64) {
	var n int64
	f.mu.Lock()
	for slot, sums := range f.sums {
		if slot >= chunks {
			n += int64(len(sums)) * memSumBytes
			delete(f.sums, slot)
		}
	}
	f.mu.Unlock()
	f.pool.count(func(s *MemStats) { s.Spilled -= n })
}

// used reports whether a chunk is in the file.
func (f *memFile) used() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return len(f.sums) > 0
}

// span gives the bytes around a value that have checksums of their own.
func (f *memFile) span(place uint64) (start, end int64) {
	start = placeOffset(place)
	end = start + int64(placeLength(place))
	return start &^ (memSumBytes - 1), (end + memSumBytes - 1) &^ (memSumBytes - 1)
}

var _ source = (*memFile)(nil)

// handle, unit, end and value make it a source of values.
func (f *memFile) handle() *virtualfile.Handle { return f.h }
func (f *memFile) unit() int                   { return memSumBytes }
func (f *memFile) end() int64                  { return maxLog }
func (f *memFile) value(_ page.LSN, _ int64, raw []byte, _ *arena) ([]byte, error) {
	return raw, nil
}

// verify checks whole spans of the file from off on.
func (f *memFile) verify(off int64, b []byte, _ func(blk int64) []byte) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for ; len(b) >= memSumBytes; off, b = off+memSumBytes, b[memSumBytes:] {
		slot := off >> f.shift
		sums := f.sums[slot]
		// A large value has more than one chunk; its sums are with the first.
		for sums == nil && slot > 0 {
			slot--
			sums = f.sums[slot]
		}
		i := (off - slot<<f.shift) / memSumBytes
		if i >= int64(len(sums)) {
			continue // between chunks: nobody wants it
		}
		if xxhash.Sum64(b[:memSumBytes]) != sums[i] {
			return corruptf(f.h.Name(), off, "the checksum of these %d bytes is wrong", memSumBytes)
		}
	}
	return nil
}

// remove closes and removes the file. What remains in spite of an error is removed when a pool is opened.
func (f *memFile) remove() {
	var spilled int64
	for _, s := range f.sums {
		spilled += int64(len(s)) * memSumBytes
	}
	name := f.h.Name()
	_ = f.h.Close()
	_ = f.pool.o.Disk.Remove(name)
	f.pool.count(func(s *MemStats) { s.Spilled -= spilled; s.Files-- })
}
