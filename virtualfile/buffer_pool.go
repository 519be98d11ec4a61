package virtualfile

import (
	"bytes"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/stratapg/strata/internal/offheap"
)

const (
	// exactClasses are the sizes of 1 to 8 units of BufferAlign, one class each; above there are four classes
	// to a doubling, so that at most a fifth of a buffer lies idle.
	exactClasses = 8
	// bufferClasses ends at 4 MiB; what is larger is mapped and unmapped each time, which its transfer dwarfs.
	bufferClasses = exactClasses + 4*7
	// defaultIdleBuffers bounds the memory that free buffers hold: enough for the reads of MaxInFlight's
	// default, half of which are free at a time.
	defaultIdleBuffers = 32 << 20
)

// Buffers is a pool of Buffers with memory off the Go heap. Free ones are kept by size up to a number of
// bytes; beyond it, memory of the class that holds most goes back to the system. Get and Release of a
// buffer that was kept allocate nothing. All methods may be called concurrently.
type Buffers struct {
	maxIdle int64
	// poison fills free memory and looks, before it is given out again, whether somebody wrote to it. Stale
	// Buffers then stay dead, while they would come to life with the next owner otherwise.
	poison  bool
	closed  atomic.Bool
	inUse   atomic.Int64 // bytes
	idle    atomic.Int64 // bytes
	gets    atomic.Int64
	allocs  atomic.Int64
	classes [bufferClasses]bufferClass
}

// bufferClass holds the free buffers of one size.
type bufferClass struct {
	mu    sync.Mutex
	free  *Buffer
	bytes atomic.Int64
	_     [104]byte // classes are taken on different processors: a pair of cache lines to each
}

// classOf gives the class of buffers of n bytes, and their size; class -1 if they are too large to keep.
func classOf(n int) (class, size int) {
	units := (n + BufferAlign - 1) / BufferAlign
	if units <= exactClasses {
		units = max(units, 1)
		return units - 1, units * BufferAlign
	}
	shift := bits.Len(uint(units-1)) - 3
	steps := (units-1)>>shift + 1 // 5 to 8
	class = exactClasses + (shift-1)*4 + steps - 5
	if class >= bufferClasses {
		return -1, units * BufferAlign
	}
	return class, steps << shift * BufferAlign
}

// Get gives a buffer of at least n bytes with unspecified content and one owner.
func (p *Buffers) Get(n int) *Buffer {
	class, size := classOf(n)
	p.gets.Add(1)
	p.inUse.Add(int64(size))
	b := p.take(class)
	if b == nil {
		b = p.alloc(size)
	}
	b.b = b.mem[: max(n, 1)+(-max(n, 1))&(BufferAlign-1) : len(b.mem)]
	b.refs.Store(1)
	return b
}

// take takes a free buffer of a class, if there is one.
func (p *Buffers) take(class int) *Buffer {
	if class < 0 {
		return nil
	}
	c := &p.classes[class]
	c.mu.Lock()
	b := c.free
	if b == nil {
		c.mu.Unlock()
		return nil
	}
	c.free, b.next = b.next, nil
	c.mu.Unlock()
	c.bytes.Add(-int64(len(b.mem)))
	p.idle.Add(-int64(len(b.mem)))
	if p.poison {
		checkPoison(b.mem)
	}
	return b
}

// alloc makes a buffer. If the system gives no mapping, as there are too many, the Go heap has to do.
func (p *Buffers) alloc(size int) *Buffer {
	p.allocs.Add(1)
	mem, err := offheap.Alloc(size)
	if err != nil {
		raw := make([]byte, size+BufferAlign)
		at := -int(uintptr(unsafe.Pointer(&raw[0]))) & (BufferAlign - 1)
		mem = raw[at : at+size : at+size]
	}
	return &Buffer{mem: mem, pool: p, heap: err != nil}
}

// put keeps a buffer's memory, or frees some if too much is kept.
func (p *Buffers) put(b *Buffer) {
	size := int64(len(b.mem))
	p.inUse.Add(-size)
	if p.poison {
		poison(b.mem)
		dead := b
		b = &Buffer{mem: dead.mem, pool: p, heap: dead.heap}
		dead.mem, dead.b = nil, nil
	}
	class, _ := classOf(len(b.mem))
	if class < 0 || p.closed.Load() {
		b.free()
		return
	}
	p.idle.Add(size)
	c := &p.classes[class]
	c.bytes.Add(size)
	c.mu.Lock()
	b.next, c.free = c.free, b
	c.mu.Unlock()
	for p.idle.Load() > p.maxIdle && p.trim() {
	}
	if p.closed.Load() {
		p.drain()
	}
}

// trim frees a buffer of the class that holds the most bytes, and tells whether it found one.
func (p *Buffers) trim() bool {
	most := 0
	for i := range p.classes {
		if p.classes[i].bytes.Load() > p.classes[most].bytes.Load() {
			most = i
		}
	}
	b := p.take(most)
	if b != nil {
		b.free()
	}
	return b != nil
}

func (b *Buffer) free() {
	if !b.heap {
		offheap.Free(b.mem)
	}
	b.mem, b.b = nil, nil
}

func (p *Buffers) drain() {
	for i := range p.classes {
		for b := p.take(i); b != nil; b = p.take(i) {
			b.free()
		}
	}
}

// close frees what is kept; buffers still out are freed by their last release.
func (p *Buffers) close() {
	p.closed.Store(true)
	p.drain()
}

// poisoned is a page of free memory in validation mode.
var poisoned = bytes.Repeat([]byte{0xdb}, BufferAlign)

func poison(mem []byte) {
	for ; len(mem) > 0; mem = mem[BufferAlign:] {
		copy(mem, poisoned)
	}
}

// checkPoison panics if free memory was written to: by a caller that released its buffer too early, or by
// the kernel because an engine did.
func checkPoison(mem []byte) {
	for i := 0; i < len(mem); i += BufferAlign {
		if !bytes.Equal(mem[i:i+BufferAlign], poisoned) {
			panic(fmt.Sprintf("virtualfile: a Buffer of %d bytes was written to after its last release", len(mem)))
		}
	}
}
