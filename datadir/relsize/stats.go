package relsize

import "sync/atomic"

// Stats is what caches of relation sizes did and hold.
type Stats struct {
	Primary, Replica CacheStats
	// Newer counts the misses of the primary cache whose relation has changed since the LSN asked for.
	Newer int64
}

// CacheStats is what one kind of cache did and holds. A request that the primary cache answers never comes to the
// replica cache.
type CacheStats struct {
	Hits, Misses int64
	// Evictions counts sizes that gave way to others.
	Evictions int64
	// Entries is the number of sizes held now.
	Entries int64
}

// Counters is Stats while it changes.
type Counters struct {
	primaryHits, primaryMisses, primaryEvicted, primaryEntries atomic.Int64
	replicaHits, replicaMisses, replicaEvicted, replicaEntries atomic.Int64
	newer                                                      atomic.Int64
}

// Stats gives the counts as they are now.
func (c *Counters) Stats() Stats {
	return Stats{
		Primary: CacheStats{c.primaryHits.Load(), c.primaryMisses.Load(), c.primaryEvicted.Load(), c.primaryEntries.Load()},
		Replica: CacheStats{c.replicaHits.Load(), c.replicaMisses.Load(), c.replicaEvicted.Load(), c.replicaEntries.Load()},
		Newer:   c.newer.Load(),
	}
}
