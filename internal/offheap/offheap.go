// Package offheap gives memory that the Go runtime knows nothing of: caches and buffers of gigabytes lie in
// it, so that the garbage collector neither walks nor paces itself by them. An area begins at a page and is
// zero when it is given.
//
// The price is that whoever allocates also frees. An area that was freed is returned to the system at once
// (it is unmapped), so a later access through a stale slice ends the process instead of reading what belongs
// to somebody else by now. Areas are for large and long-lived things, a system call each; small objects are
// cut from them by their owner.
//
// Bytes in use are no part of the runtime's memory limit: GOMEMLIMIT has to leave room for them, see
// docs/design/memory.md.
//
// Where the system has no mmap, and under the race detector, which does not look at memory outside the heap,
// areas are made on the Go heap. All functions may be called concurrently.
package offheap

import (
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"
)

// MaxArea is the largest size of one area: 1 TiB. A larger wish is a mistake of the caller's.
const MaxArea = 1 << 40

// areas knows what is in use, by address, so that a false Free is caught before it unmaps somebody's memory.
var areas struct {
	sync.Mutex
	sizes map[uintptr]int
}

var inUse atomic.Int64

// Alloc gives n bytes, all zero, beginning at a page. An error of the system is passed on; it says how much
// was asked for.
func Alloc(n int) ([]byte, error) {
	if n <= 0 || n > MaxArea {
		return nil, fmt.Errorf("offheap: an area of %d bytes; it must be 1 to %d", n, int64(MaxArea))
	}
	b, err := acquire(n)
	if err != nil {
		return nil, fmt.Errorf("offheap: %d bytes wanted with %d in use: %w", n, InUse(), err)
	}
	areas.Lock()
	defer areas.Unlock()
	if areas.sizes == nil {
		areas.sizes = make(map[uintptr]int)
	}
	areas.sizes[address(b)] = n
	inUse.Add(int64(n))
	return b, nil
}

// Free gives an area back: the slice that Alloc gave, at whatever length. It panics if there is no such area,
// since to go on after a double free is to write into memory of others. Free of nil does nothing.
func Free(b []byte) {
	if b == nil {
		return
	}
	areas.Lock()
	n, ok := areas.sizes[address(b)]
	ok = ok && n == cap(b)
	if ok {
		delete(areas.sizes, address(b))
	}
	areas.Unlock()
	if !ok {
		panic(fmt.Sprintf("offheap: Free of %d bytes that Alloc did not give, or that were freed already", cap(b)))
	}
	release(b[:n])
	inUse.Add(int64(-n))
}

// InUse is the sum of the sizes of all areas, of the whole process.
func InUse() int64 { return inUse.Load() }

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
