package virtualfile

import (
	"fmt"
	"sync/atomic"
)

// BufferAlign is what the address and the length of every Buffer are multiples of. No device asks for more.
const BufferAlign = 4096

// Buffer is aligned memory for transfers: the only thing that files are read into and written from, so that
// nothing misaligned can be passed by accident. It is counted: whoever keeps it beyond a call retains it, an
// engine does so for as long as the kernel may touch it, and it goes back to its pool with the last release.
type Buffer struct {
	b    []byte // what was asked for, rounded up: the beginning of mem
	mem  []byte // all that its class has
	refs atomic.Int32
	heap bool // mem is on the Go heap, as the system gave none
	pool *Buffers
	next *Buffer // in the pool's list
}

// Bytes gives all of the memory.
func (b *Buffer) Bytes() []byte { return b.b }

// Len gives the length in bytes, a multiple of BufferAlign.
func (b *Buffer) Len() int { return len(b.b) }

// Retain counts one more owner. Only an owner may do so: it panics on a buffer that nobody owns any more.
func (b *Buffer) Retain() {
	if n := b.refs.Add(1); n <= 1 {
		panic(fmt.Sprintf("virtualfile: Buffer retained after its last release (%d owners)", n-1))
	}
}

// Release counts one owner less; the last one's gives the memory back, and none may touch it afterwards. It
// panics if there was no owner: the memory may be another's by now.
func (b *Buffer) Release() {
	switch n := b.refs.Add(-1); {
	case n == 0:
		b.pool.put(b)
	case n < 0:
		panic("virtualfile: Buffer released more often than retained")
	}
}
