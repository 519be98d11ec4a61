package cache

// Stats are counters since the cache was made, and what it holds, by kind.
type Stats struct {
	Hits      [Kinds]int64 // blocks that were there
	Misses    [Kinds]int64 // loads begun, and blocks added
	Waits     [Kinds]int64 // blocks that another one's load was waited for
	Failures  [Kinds]int64 // loads that failed
	Evictions [Kinds]int64 // blocks that gave way to others
	Bypasses  [Kinds]int64 // misses for which there was no room, as all was pinned
	Bytes     [Kinds]int64 // size of the blocks held

	Limit    int64 // bytes of blocks that the cache may hold
	Bypassed int64 // bytes of pinned blocks beside the cache now, on the Go heap
}

// Stats gives a snapshot. Each number is exact; together they are of about one moment.
func (c *Blocks) Stats() Stats {
	st := Stats{Limit: int64(len(c.slots)) * BlockSize, Bypassed: c.bypassed.Load()}
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		n := sh.counts
		sh.mu.Unlock()
		for k := range Kinds {
			st.Hits[k] += sh.hits[k].Load()
			st.Misses[k] += n.misses[k]
			st.Waits[k] += n.waits[k]
			st.Failures[k] += n.failures[k]
			st.Evictions[k] += n.evictions[k]
			st.Bypasses[k] += n.bypasses[k]
			st.Bytes[k] += n.blocks[k] * BlockSize
		}
	}
	return st
}

// Pinned counts the blocks that are pinned at the moment, those beside the cache included. It looks at all.
func (c *Blocks) Pinned() int {
	n := int(c.bypassed.Load() / BlockSize)
	for i := range c.slots {
		s := c.slots[i].state.Load()
		if s&(doomed-1) > 0 && (s&closed == 0 || s&doomed != 0) {
			n++
		}
	}
	return n
}
