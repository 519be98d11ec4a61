package layer

import "github.com/stratapg/strata/virtualfile"

// arenaChunk is the unit of an arena's memory.
const arenaChunk = 128 << 10

// arena hands out byte slices that all live until release, from buffers off the Go heap.
type arena struct {
	pool *virtualfile.Buffers
	bufs []*virtualfile.Buffer
	rest []byte
}

// alloc gives n bytes of unspecified content.
func (a *arena) alloc(n int) []byte {
	if n > len(a.rest) {
		buf := a.pool.Get(max(n, arenaChunk))
		a.bufs = append(a.bufs, buf)
		b := buf.Bytes()
		if left := b[n:]; len(left) <= len(a.rest) {
			return b[:n:n] // what is left of the buffer before is more
		}
		a.rest = b
	}
	b := a.rest[:n:n]
	a.rest = a.rest[n:]
	return b
}

// release takes all of it back.
func (a *arena) release() {
	for i, b := range a.bufs {
		b.Release()
		a.bufs[i] = nil
	}
	a.bufs, a.rest = a.bufs[:0], nil
}
