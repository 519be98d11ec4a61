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

// Mem is the in-memory layer: values that are not on disk yet. Their bytes lie in chunks without pointers,
// their places in chained versions below a skip list of keys, so that the garbage collector has nothing to
// walk and a put allocates nothing but a chunk now and then.
//
//	skip list of keys ──head──▶ newest version ──prev──▶ older version ──prev──▶ …
//	                                  └──chunk, offset, length──▶ bytes
//
// Many readers may run beside one writer without any lock: a key or version is filled in first and linked
// with one atomic store. A reader sees each value of a running Put or not; the timeline asks only for LSNs
// whose Put is over.
type Mem struct {
	start  page.LSN
	end    atomic.Uint64 // exclusive; MaxLSN while open
	size   atomic.Int64
	count  atomic.Int64
	ready  atomic.Bool // the head of the skip list is there
	keys   slab[memKey]
	vers   slab[memVersion]
	links  slab[uint32]
	values chunks

	writer struct {
		sync.Mutex // one Put or Freeze at a time
		splice     [memLevels]uint32
		lastID     uint32
		random     uint64
	}
}

// memKey is a node of the skip list. Numbers count from 1; 0 is "none", and the head's key is never read.
type memKey struct {
	key    page.Key
	head   atomic.Uint32 // the newest version
	tower  uint32        // its first link; level i is at tower+i
	height uint32
}

type memVersion struct {
	lsn    page.LSN
	chunk  uint32
	offset uint32
	length uint32 // shifted left by one, with will_init in bit 0
	prev   atomic.Uint32
}

const (
	// memLevels suits 4^12 keys, 16 million.
	memLevels = 12
	headKey   = 1
	// Sizes counted for the index beside the bytes of the values.
	memVersionBytes = 32
	memKeyBytes     = 40
)

// ErrFrozen says that an in-memory layer takes no more values.
var ErrFrozen = errors.New("in-memory layer is frozen")

// NewMem begins a layer whose values are at or above start. Memory is taken with the first Put.
func NewMem(start page.LSN) *Mem {
	m := &Mem{start: start}
	m.end.Store(uint64(page.MaxLSN))
	m.writer.random = uint64(start)*2 + 1
	return m
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
// stays. It fails with ErrFrozen, or, before anything is stored, on an LSN below the layer's start.
func (m *Mem) Put(b *page.Batch) error {
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
	var size int64
	for i := range entries {
		e := &entries[i]
		size += m.put(e.Key, e.LSN, e.WillInit, b.Data(*e))
	}
	m.size.Add(size)
	m.count.Add(int64(len(entries)))
	return nil
}

// put stores one value and gives the memory it took.
func (m *Mem) put(k page.Key, lsn page.LSN, willInit bool, value []byte) int64 {
	id, v := m.vers.add()
	v.lsn, v.length = lsn, uint32(len(value))<<1
	if willInit {
		v.length |= 1
	}
	v.chunk, v.offset = m.values.append(value)
	size := int64(len(value)) + memVersionBytes
	node, isNew := m.findOrAdd(k)
	if isNew {
		size += memKeyBytes
	}
	m.link(node, id, v)
	return size
}

// link puts a version into its key's chain, newest first. It replaces one of its LSN.
func (m *Mem) link(node *memKey, id uint32, v *memVersion) {
	place := &node.head
	for {
		at := place.Load()
		if at == 0 {
			break
		}
		o := m.vers.at(at)
		if o.lsn <= v.lsn {
			if o.lsn == v.lsn {
				at = o.prev.Load()
			}
			v.prev.Store(at)
			break
		}
		place = &o.prev
	}
	place.Store(id)
}

// bytes gives the value of a version.
func (m *Mem) bytes(v *memVersion) []byte {
	return m.values.at(v.chunk, v.offset, v.length>>1)
}

// Collect adds to c what the layer holds of keys within lsns, per key from the newest down to the first
// that initializes. The values stay valid for as long as someone has them.
func (m *Mem) Collect(ctx context.Context, c *Collector, keys page.Set, lsns page.LSNRange) error {
	if !lsns.Overlaps(m.LSNs()) {
		return nil
	}
	for _, r := range keys.Ranges() {
		if err := ctx.Err(); err != nil {
			return err
		}
		for n := m.seek(r.Start); n != nil && n.key.Less(r.End) && !c.beyond(n.key); n = m.next(n) {
			for at := n.head.Load(); at != 0; {
				v := m.vers.at(at)
				if v.lsn < lsns.Start {
					break
				}
				if v.lsn < lsns.End {
					willInit := v.length&1 == 1
					c.Add(n.key, v.lsn, false, willInit, m.bytes(v))
					if willInit {
						break
					}
				}
				at = v.prev.Load()
			}
		}
	}
	return nil
}

// Iterate gives all values in (key, LSN) order. An error of fn ends the walk and is returned.
func (m *Mem) Iterate(ctx context.Context, fn func(k page.Key, lsn page.LSN, willInit bool, value []byte) error) error {
	var chain []*memVersion
	for n := m.seek(page.MinKey); n != nil; n = m.next(n) {
		if err := ctx.Err(); err != nil {
			return err
		}
		chain = chain[:0]
		for at := n.head.Load(); at != 0; {
			v := m.vers.at(at)
			chain = append(chain, v)
			at = v.prev.Load()
		}
		for _, v := range slices.Backward(chain) {
			if err := fn(n.key, v.lsn, v.length&1 == 1, m.bytes(v)); err != nil {
				return err
			}
		}
	}
	return nil
}
