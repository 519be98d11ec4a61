package relsize

import (
	"sync"

	"github.com/stratapg/strata/page"
)

// shards is how many locks divide each cache. It is a power of two.
const shards = 16

// Limits of one timeline's caches, in entries.
const (
	MaxPrimary = 64 << 10
	MaxReplica = 16 << 10
)

// Caches are the two caches of one timeline. All methods may be called concurrently, but those that ingest calls
// (Changed, Gone, Prune) only one at a time.
type Caches struct {
	memory   Memory
	counters *Counters
	primary  [shards]shard[name, latest]
	replica  [shards]shard[moment, uint32]
}

// latest is a relation's newest size and the LSN that it holds from.
type latest struct {
	since  page.LSN
	blocks uint32
}

// name is a page.RelTag in whole words: without padding it is hashed in one step.
type name struct{ db, rel uint64 }

func nameOf(r page.RelTag) name {
	return name{uint64(r.Spc)<<32 | uint64(r.DB), uint64(r.Rel)<<8 | uint64(r.Fork)}
}

func (n name) tag() page.RelTag {
	return page.RelTag{Spc: uint32(n.db >> 32), DB: uint32(n.db), Rel: uint32(n.rel >> 8), Fork: page.Fork(n.rel)}
}

// moment is a relation at one LSN.
type moment struct {
	lsn page.LSN
	rel name
}

type shard[K comparable, V any] struct {
	mu    sync.Mutex
	table table[K, V]
	_     [64]byte // neighbours' locks lie on other cache lines
}

// New makes empty caches. They take what they need of memory as they grow; Close gives it back. What they do is
// counted in c, which many may share.
func New(m Memory, c *Counters) *Caches { return newCaches(m, c, MaxPrimary, MaxReplica) }

func newCaches(m Memory, c *Counters, primary, replica int) *Caches {
	s := &Caches{memory: m, counters: c}
	for i := range shards {
		s.primary[i].table.limit = (primary + shards - 1) / shards
		s.replica[i].table.limit = (replica + shards - 1) / shards
	}
	return s
}

// spread divides relations among the shards. At different LSNs they go to different ones.
func spread(n name, lsn page.LSN) uint64 {
	return (n.rel ^ n.db<<40 ^ uint64(lsn)>>3) * 0x9E3779B97F4A7C15 >> 60 % shards
}

// Get gives the number of blocks of a relation as of an LSN that can be read, if one of the caches knows.
func (c *Caches) Get(rel page.RelTag, lsn page.LSN) (blocks uint32, ok bool) {
	n := nameOf(rel)
	s := &c.primary[spread(n, 0)]
	newer := false
	s.mu.Lock()
	if v := s.table.get(n); v != nil {
		blocks, ok, newer = v.blocks, v.since <= lsn, v.since > lsn
	}
	s.mu.Unlock()
	if ok {
		c.counters.primaryHits.Add(1)
		return blocks, true
	}
	c.counters.primaryMisses.Add(1)
	if newer {
		c.counters.newer.Add(1)
	}
	r := &c.replica[spread(n, lsn)]
	r.mu.Lock()
	if v := r.table.get(moment{lsn, n}); v != nil {
		blocks, ok = *v, true
	}
	r.mu.Unlock()
	if ok {
		c.counters.replicaHits.Add(1)
		return blocks, true
	}
	c.counters.replicaMisses.Add(1)
	return 0, false
}

// Keep notes what a read at an LSN found.
func (c *Caches) Keep(rel page.RelTag, lsn page.LSN, blocks uint32) {
	n := nameOf(rel)
	r, k := &c.replica[spread(n, lsn)], moment{lsn, n}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.table.get(k) == nil {
		before := len(r.table.byKey)
		c.counters.replicaEvicted.Add(int64(r.table.put(k, blocks, c.memory)))
		c.counters.replicaEntries.Add(int64(len(r.table.byKey) - before))
	}
}

// Changed notes that WAL gave a relation a size from an LSN on, one that cannot be read yet.
func (c *Caches) Changed(rel page.RelTag, since page.LSN, blocks uint32) {
	n := nameOf(rel)
	s := &c.primary[spread(n, 0)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.table.get(n); v != nil {
		if since >= v.since {
			*v = latest{since, blocks}
		}
		return
	}
	before := len(s.table.byKey)
	c.counters.primaryEvicted.Add(int64(s.table.put(n, latest{since, blocks}, c.memory)))
	c.counters.primaryEntries.Add(int64(len(s.table.byKey) - before))
}

// Gone notes that WAL dropped a relation at an LSN that cannot be read yet. A size that it has been given since, as it
// was made anew, stays.
func (c *Caches) Gone(rel page.RelTag, lsn page.LSN) {
	n := nameOf(rel)
	s := &c.primary[spread(n, 0)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.table.get(n); v != nil && v.since < lsn {
		s.table.remove(n)
		c.counters.primaryEntries.Add(-1)
	}
}

// Prune is Gone for all relations for which gone says so. It looks at every entry.
func (c *Caches) Prune(lsn page.LSN, gone func(page.RelTag) bool) {
	for i := range c.primary {
		s := &c.primary[i]
		s.mu.Lock()
		before := len(s.table.byKey)
		s.table.removeIf(func(n name, v latest) bool { return v.since < lsn && gone(n.tag()) })
		c.counters.primaryEntries.Add(int64(len(s.table.byKey) - before))
		s.mu.Unlock()
	}
}

// Close gives the memory back. From then on nothing is found and nothing kept.
func (c *Caches) Close() {
	for i := range c.primary {
		s, r := &c.primary[i], &c.replica[i]
		s.mu.Lock()
		c.counters.primaryEntries.Add(-int64(len(s.table.byKey)))
		s.table.close(c.memory)
		s.mu.Unlock()
		r.mu.Lock()
		c.counters.replicaEntries.Add(-int64(len(r.table.byKey)))
		r.table.close(c.memory)
		r.mu.Unlock()
	}
}
