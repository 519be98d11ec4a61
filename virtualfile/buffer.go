package virtualfile

import (
	"sync/atomic"
	"unsafe"
)

// BufferAlign is what the address and the length of every Buffer are multiples of. No device asks for more.
const BufferAlign = 4096

// Buffer is aligned memory for transfers: the only thing that files are read into and written from, so that
// nothing misaligned can be passed by accident. It is counted: whoever keeps it beyond a call retains it, an
// engine does so for as long as the kernel may touch it, and it goes back to its pool with the last release.
type Buffer struct {
	b    []byte
	refs atomic.Int32
	pool *Buffers
}

// Bytes gives all of the memory.
func (b *Buffer) Bytes() []byte { return b.b }

// Len gives the length in bytes, a multiple of BufferAlign.
func (b *Buffer) Len() int { return len(b.b) }

// Retain counts one more owner.
func (b *Buffer) Retain() { b.refs.Add(1) }

// Release counts one owner less; the last one's gives the memory back, and none may touch it afterwards.
func (b *Buffer) Release() {
	switch n := b.refs.Add(-1); {
	case n == 0:
		b.pool.put(b)
	case n < 0:
		panic("virtualfile: Buffer released more often than retained")
	}
}

// Buffers is a pool of Buffers. All methods may be called concurrently.
type Buffers struct{}

// Get gives a buffer of at least n bytes with unspecified content and one owner.
func (p *Buffers) Get(n int) *Buffer {
	n = (n + BufferAlign - 1) &^ (BufferAlign - 1)
	raw := make([]byte, n+BufferAlign)
	at := -int(uintptr(unsafe.Pointer(&raw[0]))) & (BufferAlign - 1)
	b := &Buffer{b: raw[at : at+n : at+n], pool: p}
	b.refs.Store(1)
	return b
}

func (p *Buffers) put(b *Buffer) { b.b = nil }
