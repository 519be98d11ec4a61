package layer

import (
	"context"
	"slices"

	"github.com/stratapg/strata/page"
)

// A place is where a value lies in the log of a layer: 36 bits of offset, 28 of length.
const (
	placeLengthBits = 28
	maxLog          = 1 << (64 - placeLengthBits)
	// firstMemChunk is where the sizes of a layer's chunks begin; they double, so that small layers stay small.
	firstMemChunk = 64 << 10
)

// A value that needs more than this part of a chunk gets memory of its own, so that little is left unused.
const largeValuePart = 4

func placeOf(off int64, n int) uint64   { return uint64(off)<<placeLengthBits | uint64(n) }
func placeOffset(p uint64) (off int64)  { return int64(p >> placeLengthBits) }
func placeLength(p uint64) (length int) { return int(p & (1<<placeLengthBits - 1)) }

// memLog is the bytes of all values in the order in which they came. A chunk begins at each multiple of the
// pool's chunk size; what does not fit into the rest of one begins the next. A large value takes as many as
// it needs, all of its bytes belonging to the first.
type memLog struct {
	shift  uint
	chunks []memChunk
	memory int64 // in blocks
	beyond int64 // of it, what the budget had no room for
}

// hold counts a block's memory, n times.
func (l *memLog) hold(b memBlock, n int64) {
	n *= int64(b.Len())
	l.memory += n
	if !b.charged {
		l.beyond += n
	}
}

// memChunk is in memory or in a file; or neither, if it is behind the first of a large value's.
type memChunk struct {
	block memBlock
	n     int // bytes used
	file  *memFile
}

// memTail is where the next value goes: the writer's alone.
type memTail struct {
	open bool
	slot int    // number of the chunk
	buf  []byte // its memory
	used int
}

// bytes gives a value that is in memory; false if it is in a file.
func (l *memLog) bytes(place uint64) ([]byte, bool) {
	n := placeLength(place)
	if n == 0 {
		return nil, true
	}
	off := placeOffset(place)
	c := &l.chunks[off>>l.shift]
	if c.block.Buffer == nil {
		return nil, false
	}
	at := int(off & (1<<l.shift - 1))
	return c.block.Bytes()[at : at+n : at+n], true
}

func (l *memLog) release(p *MemPool) {
	for i := range l.chunks {
		if b := l.chunks[i].block; b.Buffer != nil {
			p.give(b, false)
		}
	}
}

// putValues copies the values of a batch into the log and notes their places. If it fails the log is as before.
func (m *Mem) putValues(ctx context.Context, b *page.Batch) error {
	w := &m.writer
	entries := b.Entries()
	w.places = slices.Grow(w.places[:0], len(entries))[:len(entries)]
	before, chunks := w.tail, len(m.mu.values.chunks)
	for i := 0; i < len(entries); {
		// The values of a batch lie behind one another: as many as fit are copied at once.
		first, n := &entries[i], 0
		j := i
		for base := int64(w.tail.slot)<<m.mu.values.shift + int64(w.tail.used); j < len(entries) && n+int(entries[j].Size) <= len(w.tail.buf)-w.tail.used; j++ {
			w.places[j] = placeOf(base+int64(n), int(entries[j].Size))
			n += int(entries[j].Size)
		}
		if j > i {
			copy(w.tail.buf[w.tail.used:], b.Data(page.BatchEntry{Offset: first.Offset, Size: uint32(n)}))
			w.tail.used += n
			i = j
			continue
		}
		place, err := m.putSlowly(ctx, b.Data(*first))
		if err != nil {
			m.rollBack(before, chunks)
			return err
		}
		if place != 0 {
			w.places[i] = place
			i++
		}
	}
	return nil
}

// putSlowly opens the next chunk, or, if value is large, stores it and gives its place.
func (m *Mem) putSlowly(ctx context.Context, value []byte) (place uint64, err error) {
	l, w := &m.mu.values, &m.writer
	size := min(1<<l.shift, firstMemChunk<<min(len(l.chunks), 8))
	large := len(value) > 1<<l.shift/largeValuePart
	if large {
		size = len(value)
	} else {
		m.seal()
	}
	slots := (size-1)>>l.shift + 1
	if int64(len(l.chunks)+slots)<<l.shift > maxLog {
		return 0, errLogFull
	}
	block, err := w.spill.room(ctx, size)
	if err != nil {
		return 0, err
	}
	slot := len(l.chunks)
	chunk := memChunk{block: block}
	if large {
		chunk.n = copy(block.Bytes(), value)
	}
	m.mu.Lock()
	l.chunks = append(append(l.chunks, chunk), make([]memChunk, slots-1)...)
	l.hold(block, 1)
	m.mu.Unlock()
	if large {
		return placeOf(int64(slot)<<l.shift, len(value)), nil
	}
	w.tail = memTail{open: true, slot: slot, buf: block.Bytes()}
	return 0, nil
}

// seal ends the open chunk, so that it may go to disk.
func (m *Mem) seal() {
	if t := &m.writer.tail; t.open {
		m.mu.values.chunks[t.slot].n = t.used
		*t = memTail{}
	}
}

// rollBack takes out of the log what was put behind a tail. That chunk, if it has been sealed, stays so.
func (m *Mem) rollBack(t memTail, chunks int) {
	w := &m.writer
	w.spill.wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	l := &m.mu.values
	for i := chunks; i < len(l.chunks); i++ {
		if b := l.chunks[i].block; b.Buffer != nil {
			l.hold(b, -1)
			m.pool.give(b, false)
		}
	}
	l.chunks = l.chunks[:chunks]
	for _, f := range w.spill.files {
		f.cut(int64(chunks))
	}
	w.spill.next = min(w.spill.next, chunks)
	w.tail = memTail{}
	if t.open && l.chunks[t.slot].block.Buffer != nil {
		l.chunks[t.slot].n = 0
		w.tail = t
	}
}
