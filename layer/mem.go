package layer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stratapg/strata/page"
)

// Mem is the in-memory layer: values that are not on disk yet. Their bytes and their places lie in chunks
// without pointers, so that the garbage collector has nothing to walk and a put allocates nothing but a
// chunk now and then.
//
//	B+ tree of keys ──head──▶ newest version ──prev──▶ older version ──prev──▶ …
//	                                └──chunk, offset, length──▶ bytes
//
// One lock guards all of it. Neither side holds it for long: Put lets readers in between every few values,
// and a read takes a few keys at a time. Bytes never move, so what a Collector got needs no lock.
type Mem struct {
	start  page.LSN
	pool   *MemPool
	refs   atomic.Int32
	end    atomic.Uint64 // exclusive; MaxLSN while open
	size   atomic.Int64
	count  atomic.Int64
	writer sync.Mutex // one Put or Freeze at a time; taken before mu

	mu struct {
		sync.RWMutex
		keys   memTree
		vers   slab[memVersion]
		values valueChunks
	}
}

// memVersion is one version of a key; prev is the number of the next older one, 0 for none.
type memVersion struct {
	lsn    page.LSN
	chunk  uint32
	offset uint32
	length uint32 // shifted left by one, with will_init in bit 0
	prev   uint32
}

const (
	// Sizes counted for the index beside the bytes of the values.
	memVersionBytes = 24
	memKeyBytes     = 40
	// putSteps and readSteps are how many values or keys one side handles before it lets the other in.
	putSteps  = 64
	readSteps = 256
)

// ErrFrozen says that an in-memory layer takes no more values.
var ErrFrozen = errors.New("in-memory layer is frozen")

// NewMem begins a layer whose values are at or above start, with one owner. Memory is taken with the first
// Put. Without a pool all values stay in memory.
func NewMem(start page.LSN, pool *MemPool) *Mem {
	m := &Mem{start: start, pool: pool}
	m.refs.Store(1)
	m.end.Store(uint64(page.MaxLSN))
	return m
}

// Retain counts one more owner.
func (m *Mem) Retain() { m.refs.Add(1) }

// Release counts one owner less. The last one's frees all memory: nobody may use the layer, or a value that
// a Collector has from it, afterwards.
func (m *Mem) Release() {
	if m.refs.Add(-1) < 0 {
		panic("layer: Mem released more often than retained")
	}
}

// LSNs gives the layer's range; the end is MaxLSN until it is frozen.
func (m *Mem) LSNs() page.LSNRange {
	return page.LSNRange{Start: m.start, End: page.LSN(m.end.Load())}
}

// Size gives the bytes of memory in use, about.
func (m *Mem) Size() int64 { return m.size.Load() }

// Len gives the number of values put; one that was replaced at its LSN counts too.
func (m *Mem) Len() int { return int(m.count.Load()) }

// Freeze ends the layer at the exclusive LSN end. Puts fail from then on.
func (m *Mem) Freeze(end page.LSN) {
	m.writer.Lock()
	defer m.writer.Unlock()
	m.end.Store(uint64(end))
}

// Put takes all values of a batch, which may be reset afterwards. Of two values of one (key, LSN) the later
// stays. It fails with ErrFrozen, or, before anything is stored, on an LSN below the layer's start. It may wait
// for values to be written to the pool's disk.
func (m *Mem) Put(ctx context.Context, b *page.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.writer.Lock()
	defer m.writer.Unlock()
	if page.LSN(m.end.Load()) != page.MaxLSN {
		return ErrFrozen
	}
	entries := b.Entries()
	if uint64(m.count.Load())+uint64(len(entries)) > math.MaxUint32/2 {
		return fmt.Errorf("in-memory layer of %d values is full", m.count.Load())
	}
	for i := range entries {
		if e := &entries[i]; e.LSN < m.start {
			return fmt.Errorf("%s at LSN %s: below the in-memory layer's start, %s", e.Key.Describe(), e.LSN, m.start)
		}
	}
	for len(entries) > 0 {
		n := min(putSteps, len(entries))
		m.putSome(b, entries[:n])
		entries = entries[n:]
	}
	return nil
}

func (m *Mem) putSome(b *page.Batch, entries []page.BatchEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var size int64
	for i := range entries {
		e := &entries[i]
		size += m.putLocked(e.Key, e.LSN, e.WillInit, b.Data(*e))
	}
	m.size.Add(size)
	m.count.Add(int64(len(entries)))
}

// putLocked stores one value and gives the memory it took.
func (m *Mem) putLocked(k page.Key, lsn page.LSN, willInit bool, value []byte) int64 {
	id, v := m.mu.vers.add()
	v.lsn, v.length = lsn, uint32(len(value))<<1
	if willInit {
		v.length |= 1
	}
	v.chunk, v.offset = m.mu.values.append(value)
	size := int64(len(value)) + memVersionBytes
	place, isNew := m.mu.keys.findOrAdd(k)
	if isNew {
		size += memKeyBytes
	}
	// The chain is newest first; a version of the same LSN is replaced.
	for *place != 0 {
		o := m.mu.vers.at(*place)
		if o.lsn <= lsn {
			v.prev = *place
			if o.lsn == lsn {
				v.prev = o.prev
			}
			break
		}
		place = &o.prev
	}
	*place = id
	return size
}

// bytesLocked gives the value of a version.
func (m *Mem) bytesLocked(v *memVersion) []byte {
	return m.mu.values.at(v.chunk, v.offset, v.length>>1)
}

// Collect adds to c what the layer holds of keys within lsns, per key from the newest down to the first
// that initializes. The values stay valid for as long as someone has them.
func (m *Mem) Collect(ctx context.Context, c *Collector, keys page.Set, lsns page.LSNRange) error {
	if !lsns.Overlaps(m.LSNs()) {
		return nil
	}
	for _, r := range keys.Ranges() {
		for !r.Empty() {
			if err := ctx.Err(); err != nil {
				return err
			}
			r.Start = m.collectSome(c, r, lsns)
		}
	}
	return nil
}

// collectSome collects some keys of r and gives where to go on; the range's end if nothing is left.
func (m *Mem) collectSome(c *Collector, r page.Range, lsns page.LSNRange) page.Key {
	m.mu.RLock()
	defer m.mu.RUnlock()
	leaf, i := m.mu.keys.seek(r.Start)
	for n := 0; leaf != nil; leaf, i = m.mu.keys.nextLeaf(leaf), 0 {
		for ; i < leaf.n; i, n = i+1, n+1 {
			k := leaf.keys[i]
			if !k.Less(r.End) {
				return r.End
			}
			if n == readSteps {
				return k
			}
			m.chainLocked(c, k, leaf.heads[i], lsns)
		}
	}
	return r.End
}

// chainLocked adds the versions of one key.
func (m *Mem) chainLocked(c *Collector, k page.Key, at uint32, lsns page.LSNRange) {
	for at != 0 {
		v := m.mu.vers.at(at)
		if v.lsn < lsns.Start {
			return
		}
		if v.lsn < lsns.End {
			willInit := v.length&1 == 1
			c.Add(k, v.lsn, false, willInit, m.bytesLocked(v))
			if willInit {
				return
			}
		}
		at = v.prev
	}
}

// memEntry is one value on its way to the function of Iterate.
type memEntry struct {
	key      page.Key
	lsn      page.LSN
	willInit bool
	value    []byte
}

// Iterate gives all values in (key, LSN) order. An error of fn ends the walk and is returned.
func (m *Mem) Iterate(ctx context.Context, fn func(k page.Key, lsn page.LSN, willInit bool, value []byte) error) error {
	var some []memEntry
	for k, more := page.MinKey, true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		some, k, more = m.entriesFrom(some[:0], k)
		for i := range some {
			if err := fn(some[i].key, some[i].lsn, some[i].willInit, some[i].value); err != nil {
				return err
			}
		}
	}
	return nil
}

// entriesFrom appends the values of the keys of one leaf, from k on, and gives where to go on, if there is
// anything.
func (m *Mem) entriesFrom(out []memEntry, k page.Key) ([]memEntry, page.Key, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	leaf, i := m.mu.keys.seek(k)
	for ; i < leaf.n; i++ {
		from := len(out)
		for at := leaf.heads[i]; at != 0; {
			v := m.mu.vers.at(at)
			out = append(out, memEntry{leaf.keys[i], v.lsn, v.length&1 == 1, m.bytesLocked(v)})
			at = v.prev
		}
		slices.Reverse(out[from:])
	}
	next := m.mu.keys.nextLeaf(leaf)
	if next == nil {
		return out, k, false
	}
	return out, next.keys[0], true
}
