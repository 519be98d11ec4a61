package layer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/stratapg/strata/page"
)

// Mem is the in-memory layer: values that are in no layer file yet.
//
//	hash of keys ──▶ record of the newest version ──prev──▶ record of an older version ──prev──▶ …
//	                            └──place, length──▶ bytes, in a chunk of the log or in an ephemeral file
//
// Values go into a log of chunks and are described by records of 28 bytes, both in the order in which they
// came; neither moves. Nothing of this has pointers or lies on the Go heap. What is read in key order is
// sorted when it is read: by a flush (Iterate), once; by a read of a wide range of keys, on what was added
// since the last one.
//
// The other design measured was a B+ tree of keys with the same records. With 1.3 million values, side by side
// and as prototypes, put and walk in order took (ns per value) 14 + 4 in the tree and 105 + 26 here where keys
// ascend, 330 + 18 and 125 + 41 where they are random, 8 + 137 and 16 + 26 where a thousand keys come over and
// over, as in WAL: there a walk along chains misses the cache at each step. So the tree is better only at what
// seldom happens; of its advantage there, the sorting is gone, as records that came in order are not sorted.
//
// Values stay in memory while the pool's budget lasts; then the oldest chunks of the layer go to its ephemeral
// file (mem_spill.go), while readers and the writer go on.
//
// Locks: writer before mu. The side of the writer holds mu for some values at a time, and never during a
// transfer; a reader holds it for some keys.
type Mem struct {
	start page.LSN
	pool  *MemPool
	refs  atomic.Int32
	end   atomic.Uint64 // exclusive; MaxLSN while open
	size  atomic.Int64
	count atomic.Int64

	writer struct {
		sync.Mutex // one Put, Freeze or walk of an open layer at a time
		tail       memTail
		places     []uint64
		spill      memSpiller
	}
	mu struct {
		sync.RWMutex
		index  memIndex
		values memLog
	}
	order memOrder
}

const (
	// What an entry counts beside the bytes of its value: its record, and for a new key its slots at the usual
	// load of the hash.
	memRecordBytes = 28
	memKeyBytes    = 16
	// maxMemRecords is how many record numbers there are.
	maxMemRecords = 1<<30 - 1
	// putSteps and readSteps are how many values or keys one side handles before it lets the other in.
	putSteps  = 64
	readSteps = 256
)

// ErrFrozen says that an in-memory layer takes no more values.
var ErrFrozen = errors.New("in-memory layer is frozen")

// NewMem begins a layer whose values are at or above start, with one owner. Memory is taken with the first
// Put. Without a pool all values stay in memory.
func NewMem(start page.LSN, pool *MemPool) *Mem {
	if pool == nil {
		pool = new(MemPool)
	}
	m := &Mem{start: start, pool: pool}
	m.refs.Store(1)
	m.end.Store(uint64(page.MaxLSN))
	m.mu.values.shift = pool.chunkShift()
	m.mu.index.arena.pool = pool
	m.writer.spill.init(m)
	return m
}

// Retain counts one more owner.
func (m *Mem) Retain() { m.refs.Add(1) }

// Release counts one owner less. The last one's frees all memory and removes the ephemeral file: nobody may
// use the layer, or a value that a Collector has from it, afterwards.
func (m *Mem) Release() {
	switch n := m.refs.Add(-1); {
	case n < 0:
		panic("layer: Mem released more often than retained")
	case n > 0:
		return
	}
	m.writer.Lock()
	defer m.writer.Unlock()
	m.end.CompareAndSwap(uint64(page.MaxLSN), uint64(m.start))
	m.writer.spill.wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.values.release(m.pool)
	m.mu.index.arena.release(m.pool)
	m.mu.index = memIndex{}
	m.mu.values = memLog{}
	m.writer.spill.remove()
}

// LSNs gives the layer's range; the end is MaxLSN until it is frozen.
func (m *Mem) LSNs() page.LSNRange {
	return page.LSNRange{Start: m.start, End: page.LSN(m.end.Load())}
}

// Size gives the bytes of all values and of their index, wherever they lie; about what a flush will write.
func (m *Mem) Size() int64 { return m.size.Load() }

// Memory gives the bytes of memory taken from the pool.
func (m *Mem) Memory() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.mu.values.memory + m.mu.index.arena.bytes
}

// Len gives the number of values put; one that was replaced at its LSN counts too.
func (m *Mem) Len() int { return int(m.count.Load()) }

// Freeze ends the layer at the exclusive LSN end and waits for what is on its way to the ephemeral file.
// Puts fail from then on.
func (m *Mem) Freeze(end page.LSN) {
	m.writer.Lock()
	defer m.writer.Unlock()
	m.writer.spill.wait()
	m.writer.places = nil
	m.end.Store(uint64(end)) // last: whoever sees it may read without a lock
}

// Put takes all values of a batch, which may be reset afterwards. Of two values of one (key, LSN) the later
// stays. It may wait for values to be written to the pool's disk. If it fails nothing is stored: with
// ErrFrozen, on an LSN below the layer's start, when the context ends, or when there is no room in memory
// and writing fails.
func (m *Mem) Put(ctx context.Context, b *page.Batch) error {
	m.writer.Lock()
	defer m.writer.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if page.LSN(m.end.Load()) != page.MaxLSN {
		return ErrFrozen
	}
	entries := b.Entries()
	if n := m.count.Load(); n+int64(len(entries)) > maxMemRecords {
		return fmt.Errorf("in-memory layer from LSN %s: no room for %d values beside %d; freeze it", m.start, len(entries), n)
	}
	for i := range entries {
		if e := &entries[i]; e.LSN < m.start {
			return fmt.Errorf("%s at LSN %s: below the in-memory layer's start, %s", e.Key.Describe(), e.LSN, m.start)
		}
	}
	if err := m.putValues(ctx, b); err != nil {
		return fmt.Errorf("in-memory layer from LSN %s: %d values not taken: %w", m.start, len(entries), err)
	}
	for places := m.writer.places; len(entries) > 0; {
		n := min(putSteps, len(entries))
		m.index(entries[:n], places[:n])
		entries, places = entries[n:], places[n:]
	}
	m.size.Add(int64(b.Bytes()))
	return nil
}

// index enters values whose bytes are in the log.
func (m *Mem) index(entries []page.BatchEntry, places []uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := m.mu.index.putLocked(entries, places)
	m.size.Add(int64(len(entries)*memRecordBytes + keys*memKeyBytes))
	m.count.Add(int64(len(entries)))
}

// frozen reports whether no value will come any more.
func (m *Mem) frozen() bool { return page.LSN(m.end.Load()) != page.MaxLSN }
