package layer

import (
	"math/bits"
	"sync/atomic"

	"github.com/stratapg/strata/page"
)

// slabChunk is how many elements a slab takes at a time.
const slabChunk = 1 << 12

// slab holds elements that never move, numbered from 1. One writer adds; readers may look at what has been
// published to them. Elements hold no pointers.
type slab[T any] struct {
	dir atomic.Pointer[[]*[slabChunk]T]
	n   uint32
}

// add gives a new zero element, to be filled before its number is published.
func (s *slab[T]) add() (uint32, *T) { return s.addN(1) }

// addN gives the first of n new elements with numbers in a row. They lie in a row too: what is left of a
// chunk is skipped if it is too short.
func (s *slab[T]) addN(n uint32) (uint32, *T) {
	if s.n == 0 {
		s.n = 1
	}
	if s.n/slabChunk != (s.n+n-1)/slabChunk {
		s.n = (s.n/slabChunk + 1) * slabChunk
	}
	var dir []*[slabChunk]T
	if d := s.dir.Load(); d != nil {
		dir = *d
	}
	if int(s.n/slabChunk) == len(dir) {
		// Readers of the old directory do not look beyond its length.
		dir = append(dir, new([slabChunk]T))
		s.dir.Store(&dir)
	}
	id := s.n
	s.n += n
	return id, &dir[id/slabChunk][id%slabChunk]
}

func (s *slab[T]) at(id uint32) *T { return &(*s.dir.Load())[id/slabChunk][id%slabChunk] }

// valueChunk is how much room for values is taken at a time; larger values than a quarter of it get a chunk
// of their own, so that little is left unused.
const valueChunk = 1 << 20

// chunks is an append-only store of bytes that never move.
type chunks struct {
	dir  atomic.Pointer[[][]byte]
	open int // the chunk that is being filled
	used int // of it; 0 means that none is
}

func (c *chunks) grow(size int) int {
	var dir [][]byte
	if d := c.dir.Load(); d != nil {
		dir = *d
	}
	dir = append(dir, make([]byte, size))
	c.dir.Store(&dir)
	return len(dir) - 1
}

// append copies p and gives its place.
func (c *chunks) append(p []byte) (chunk, offset uint32) {
	if len(p) > valueChunk/4 {
		i := c.grow(len(p))
		copy((*c.dir.Load())[i], p)
		return uint32(i), 0
	}
	if c.used == 0 || c.used+len(p) > valueChunk {
		c.open, c.used = c.grow(valueChunk), 0
	}
	at := c.used
	copy((*c.dir.Load())[c.open][at:], p)
	// Even an empty value moves on, as used 0 means "no chunk".
	c.used += max(len(p), 1)
	return uint32(c.open), uint32(at)
}

func (c *chunks) at(chunk, offset, n uint32) []byte {
	return (*c.dir.Load())[chunk][offset : offset+n : offset+n]
}

// nextLink gives the node that follows n on a level, or 0.
func (m *Mem) nextLink(n *memKey, level uint32) uint32 {
	return atomic.LoadUint32(m.links.at(n.tower + level))
}

// findOrAdd gives the node of k, for the writer. The search starts at the places where the last one ended,
// as far as they lie before k: neighbours are often put after each other.
func (m *Mem) findOrAdd(k page.Key) (node *memKey, isNew bool) {
	w := &m.writer
	if !m.ready.Load() {
		m.addHead()
	}
	if w.lastID != headKey {
		if n := m.keys.at(w.lastID); n.key == k {
			return n, false
		}
	}
	level := uint32(0)
	for level < memLevels-1 && !m.spansLocked(level, k) {
		level++
	}
	at := uint32(headKey)
	if w.splice[level] != 0 && m.before(w.splice[level], k) {
		at = w.splice[level]
	}
	for {
		n := m.keys.at(at)
		next := m.nextLink(n, level)
		if next != 0 {
			if c := m.keys.at(next).key.Compare(k); c < 0 {
				at = next
				continue
			} else if c == 0 {
				// The places below belong to an older search, and must not be mixed with those above.
				clear(w.splice[:level+1])
				w.lastID = next
				return m.keys.at(next), false
			}
		}
		w.splice[level] = at
		if level == 0 {
			return m.addKey(k), true
		}
		level--
	}
}

// before reports whether node id orders before k.
func (m *Mem) before(id uint32, k page.Key) bool {
	return id == headKey || m.keys.at(id).key.Less(k)
}

// spansLocked reports whether k lies between the last search's place on a level and what follows there.
func (m *Mem) spansLocked(level uint32, k page.Key) bool {
	at := m.writer.splice[level]
	if at == 0 || !m.before(at, k) {
		return false
	}
	next := m.nextLink(m.keys.at(at), level)
	return next == 0 || k.Less(m.keys.at(next).key)
}

func (m *Mem) addHead() {
	id, n := m.keys.add()
	n.height = memLevels
	n.tower, _ = m.links.addN(memLevels)
	m.writer.lastID = id
	for i := range m.writer.splice {
		m.writer.splice[i] = headKey
	}
	m.ready.Store(true)
}

// addKey makes a node behind the places found on each level, linked from the bottom up.
func (m *Mem) addKey(k page.Key) *memKey {
	id, n := m.keys.add()
	n.key, n.height = k, m.height()
	n.tower, _ = m.links.addN(n.height)
	for level := range n.height {
		before := m.keys.at(m.writer.splice[level])
		atomic.StoreUint32(m.links.at(n.tower+level), m.nextLink(before, level))
	}
	for level := range n.height {
		before := m.keys.at(m.writer.splice[level])
		atomic.StoreUint32(m.links.at(before.tower+level), id)
		m.writer.splice[level] = id
	}
	m.writer.lastID = id
	return n
}

// height draws 1 + a number whose every step has probability 1/4 (xorshift).
func (m *Mem) height() uint32 {
	x := m.writer.random
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	m.writer.random = x
	return 1 + uint32(min(bits.TrailingZeros64(x)/2, memLevels-1))
}

// seek gives the first node at or above k that has a version, for readers.
func (m *Mem) seek(k page.Key) *memKey {
	if !m.ready.Load() {
		return nil
	}
	n := m.keys.at(headKey)
	for level := uint32(memLevels - 1); ; level-- {
		for {
			next := m.nextLink(n, level)
			if next == 0 || !m.keys.at(next).key.Less(k) {
				break
			}
			n = m.keys.at(next)
		}
		if level == 0 {
			return m.next(n)
		}
	}
}

// next gives the node after n.
func (m *Mem) next(n *memKey) *memKey {
	id := m.nextLink(n, 0)
	if id == 0 {
		return nil
	}
	return m.keys.at(id)
}
