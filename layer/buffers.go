package layer

import "sync"

// arenaChunk is the unit of a Collector's memory. What is larger gets a buffer of its own, left to the
// garbage collector.
const arenaChunk = maxRun

var arenaChunks = sync.Pool{New: func() any {
	b := make([]byte, arenaChunk)
	return &b
}}

// arena hands out byte slices that all live until release.
type arena struct {
	chunks []*[]byte
	rest   []byte
}

// alloc gives n bytes of unspecified content.
func (a *arena) alloc(n int) []byte {
	if n > arenaChunk {
		return make([]byte, n)
	}
	if n > len(a.rest) {
		c := arenaChunks.Get().(*[]byte)
		a.chunks = append(a.chunks, c)
		if left := (*c)[n:]; len(left) <= len(a.rest) {
			return (*c)[:n:n] // what is left of the chunk before is more
		}
		a.rest = *c
	}
	b := a.rest[:n:n]
	a.rest = a.rest[n:]
	return b
}

// release takes all of it back.
func (a *arena) release() {
	for i, c := range a.chunks {
		arenaChunks.Put(c)
		a.chunks[i] = nil
	}
	a.chunks, a.rest = a.chunks[:0], nil
}
