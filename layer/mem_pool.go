package layer

import (
	"errors"
	"fmt"
	"math/bits"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	shares "github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/virtualfile"
)

// MemPoolOptions says where in-memory layers have their memory from. Disk and Dir are needed.
type MemPoolOptions struct {
	// Disk and Dir are where values go that the budget has no room for. The folder must exist; files in it that
	// look like ephemeral ones are what a crash left, and are removed.
	Disk *virtualfile.Disk
	Dir  string
	// Budget bounds the memory of all layers of the pool. Nil means that there is no bound: nothing goes to
	// disk. The indexes of layers count too, but cannot go to disk: they may exceed it.
	Budget *shares.Share
	// Grace is how many bytes beyond the budget may be taken while values cannot be written to disk, so that
	// a failure that passes is not felt. Default 64 MiB; puts fail when it is used up.
	Grace int64
	// Idle bounds the memory that is kept for the next layer when one is released. Default 64 MiB. It counts
	// as taken from the budget, and is given up when the budget has no room for something else.
	Idle int64
	// Chunk is the unit in bytes in which values take memory and go to disk: a power of two from 4 KiB to
	// 4 MiB. Default 1 MiB.
	Chunk int
}

const (
	defaultMemChunk = 1 << 20
	defaultMemGrace = 64 << 20
	defaultMemIdle  = 64 << 20
	minMemChunk     = virtualfile.BufferAlign
	maxMemChunk     = 4 << 20
	// ephemeralPrefix begins the names of ephemeral files.
	ephemeralPrefix = "mem-"
)

// MemPool is what the in-memory layers of a process share: a budget of bytes, and a folder for the values
// that it has no room for. All methods may be called concurrently.
type MemPool struct {
	o     MemPoolOptions
	heap  virtualfile.Buffers // where there is no Disk
	files atomic.Uint64       // names of ephemeral files
	walks chan struct{}       // one for each walk that reads values back

	mu struct {
		sync.Mutex
		idle []memBlock // each of a whole chunk
		MemStats
	}
}

// MemStats says what a pool has done, in bytes where nothing else is said.
type MemStats struct {
	Memory      int64 // taken by layers
	Beyond      int64 // of it, beyond the budget
	Idle        int64 // kept for the next layer
	Spilled     int64 // in ephemeral files now
	Files       int64 // ephemeral files now, a number
	Written     int64 // to ephemeral files, ever
	Read        int64 // from ephemeral files, ever
	SpillErrors int64 // writes that failed, a number
}

// memBlock is memory of a pool. charged says that it was taken from the budget.
type memBlock struct {
	*virtualfile.Buffer
	charged bool
}

// NewMemPool makes a pool, and removes what a crash left in its folder.
func NewMemPool(o MemPoolOptions) (*MemPool, error) {
	if o.Disk == nil || o.Dir == "" {
		return nil, errors.New("in-memory layers: a disk and a folder are needed")
	}
	if o.Chunk == 0 {
		o.Chunk = defaultMemChunk
	}
	if o.Chunk < minMemChunk || o.Chunk > maxMemChunk || bits.OnesCount(uint(o.Chunk)) != 1 {
		return nil, fmt.Errorf("in-memory layers: chunks of %d bytes; a power of two from %d to %d is possible", o.Chunk, minMemChunk, maxMemChunk)
	}
	if o.Grace == 0 {
		o.Grace = defaultMemGrace
	}
	if o.Idle == 0 {
		o.Idle = defaultMemIdle
	}
	p := &MemPool{o: o, walks: make(chan struct{}, maxMemWalks)}
	names, err := o.Disk.FS().List(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("in-memory layers: %w", err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, ephemeralPrefix) && strings.HasSuffix(n, virtualfile.TempSuffix) {
			if err := o.Disk.Remove(filepath.Join(o.Dir, n)); err != nil {
				return nil, fmt.Errorf("in-memory layers: remove a leftover: %w", err)
			}
		}
	}
	return p, nil
}

// Stats gives what the pool has done so far.
func (p *MemPool) Stats() MemStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.MemStats
}

// Close gives up the memory that is kept. Layers must have been released.
func (p *MemPool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropIdleLocked()
}

// chunkShift is the logarithm of the size of a chunk.
func (p *MemPool) chunkShift() uint {
	if p.o.Chunk == 0 {
		return uint(bits.Len(defaultMemChunk) - 1)
	}
	return uint(bits.Len(uint(p.o.Chunk)) - 1)
}

// spills reports whether the pool can write values to disk.
func (p *MemPool) spills() bool { return p.o.Disk != nil && p.o.Budget != nil }

func (p *MemPool) buffers() *virtualfile.Buffers {
	if p.o.Disk == nil {
		return &p.heap
	}
	return p.o.Disk.Buffers()
}

// take gives n bytes, which are not zero, if the budget has room for them, or, if force, in any case.
func (p *MemPool) take(n int, force bool) (memBlock, bool) {
	n = (n + virtualfile.BufferAlign - 1) &^ (virtualfile.BufferAlign - 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := len(p.mu.idle); k > 0 && n == p.o.Chunk {
		b := p.mu.idle[k-1]
		p.mu.idle = p.mu.idle[:k-1]
		p.mu.Idle -= int64(n)
		p.mu.Memory += int64(n)
		return b, true
	}
	charged := p.o.Budget.TryAcquire(int64(n))
	if !charged && len(p.mu.idle) > 0 {
		p.dropIdleLocked()
		charged = p.o.Budget.TryAcquire(int64(n))
	}
	if !charged && !force {
		return memBlock{}, false
	}
	b := memBlock{p.buffers().Get(n), charged}
	p.mu.Memory += int64(n)
	if !charged {
		p.mu.Beyond += int64(n)
	}
	return b, true
}

// beyond is how much has been taken that the budget had no room for.
func (p *MemPool) beyond() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.Beyond
}

// give takes memory back that nobody uses any more; shared says that readers may still look at it.
func (p *MemPool) give(b memBlock, shared bool) {
	n := int64(b.Len())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.Memory -= n
	if !shared && b.charged && int(n) == p.o.Chunk && p.mu.Idle+n <= p.o.Idle {
		p.mu.idle = append(p.mu.idle, b)
		p.mu.Idle += n
		return
	}
	b.Release()
	if b.charged {
		p.o.Budget.Release(n)
	} else {
		p.mu.Beyond -= n
	}
}

func (p *MemPool) dropIdleLocked() {
	for _, b := range p.mu.idle {
		n := int64(b.Len())
		b.Release()
		p.mu.Idle -= n
		p.o.Budget.Release(n)
	}
	p.mu.idle = nil
}

// count changes the statistics.
func (p *MemPool) count(fn func(s *MemStats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn(&p.mu.MemStats)
}

// memArena cuts the tables of an index from blocks of 64 KiB to 1 MiB, a sixteenth of what there is at the most, so that
// small layers stay small and large ones cost few system calls. What it gave is freed all at once.
type memArena struct {
	blocks []memBlock
	rest   []byte // of the last
	scrap  []byte // what was left of one before it, for something small
	bytes  int64
	pool   *MemPool
}

const (
	minArenaBlock = 64 << 10
	maxArenaBlock = defaultMemChunk
	// arenaParts bounds what a new block adds to what there is: so much of the memory may lie idle in it.
	arenaParts = 32
)

// alloc gives n bytes, a multiple of 8, of unspecified content.
func (a *memArena) alloc(n int) unsafe.Pointer {
	from := &a.rest
	if len(a.scrap) >= n {
		from = &a.scrap
	} else if len(a.rest) < n {
		if len(a.rest) > len(a.scrap) {
			a.scrap = a.rest
		}
		size := minArenaBlock
		for size < maxArenaBlock && int64(size) < a.bytes/arenaParts {
			size *= 2
		}
		size = max(n, size)
		b, _ := a.pool.take(size, true)
		a.blocks = append(a.blocks, b)
		a.bytes += int64(b.Len())
		a.rest = b.Bytes()
	}
	p := unsafe.Pointer(unsafe.SliceData(*from))
	*from = (*from)[n:]
	return p
}

func (a *memArena) release(p *MemPool) {
	for _, b := range a.blocks {
		p.give(b, false)
	}
	*a = memArena{pool: p}
}
