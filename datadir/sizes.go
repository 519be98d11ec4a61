package datadir

import "github.com/stratapg/strata/page"

// sizeCache is a bounded LRU of relation sizes, so that a record whose block lies inside its relation needs
// no read. Sizes changed since the last commit are pinned: the store does not know them yet. The list is
// kept in one slice, so that a lookup allocates nothing and the garbage collector has nothing to walk.
type sizeCache struct {
	byRel   map[page.RelTag]int32
	entries []sizeEntry // entries[0] is the ring's head: next is the newest, prev the oldest
	free    []int32
	pinned  []int32
	limit   int
	// recent finds the entries of the relations used last without hashing their names.
	recent [recentSizes]int32
}

// recentSizes is a power of two: a record's relations are mostly those of the records before.
const recentSizes = 64

func recentSlot(rel page.RelTag) uint32 { return (rel.Rel ^ uint32(rel.Fork)*21) % recentSizes }

type sizeEntry struct {
	rel        page.RelTag
	prev, next int32
	blocks     uint32
	pinned     bool
	used       bool
}

func newSizeCache(limit int) *sizeCache {
	return &sizeCache{byRel: make(map[page.RelTag]int32), entries: make([]sizeEntry, 1), limit: limit}
}

func (c *sizeCache) get(rel page.RelTag) (uint32, bool) {
	slot := &c.recent[recentSlot(rel)]
	if e := &c.entries[*slot]; e.used && e.rel == rel {
		return e.blocks, true
	}
	i, ok := c.byRel[rel]
	if !ok {
		return 0, false
	}
	*slot = i
	if c.entries[0].next != i {
		c.unlink(i)
		c.linkNewest(i)
	}
	return c.entries[i].blocks, true
}

// put stores a size; changed says that the store does not have it yet.
func (c *sizeCache) put(rel page.RelTag, blocks uint32, changed bool) {
	i, ok := c.byRel[rel]
	if !ok {
		c.trim(c.limit - 1)
		i = c.slot()
		c.entries[i] = sizeEntry{rel: rel, used: true}
		c.byRel[rel] = i
		c.linkNewest(i)
	}
	e := &c.entries[i]
	e.blocks = blocks
	if changed && !e.pinned {
		e.pinned = true
		c.pinned = append(c.pinned, i)
	}
}

func (c *sizeCache) slot() int32 {
	if n := len(c.free); n > 0 {
		i := c.free[n-1]
		c.free = c.free[:n-1]
		return i
	}
	c.entries = append(c.entries, sizeEntry{})
	return int32(len(c.entries) - 1)
}

func (c *sizeCache) remove(rel page.RelTag) {
	if i, ok := c.byRel[rel]; ok {
		c.drop(i)
	}
}

func (c *sizeCache) drop(i int32) {
	delete(c.byRel, c.entries[i].rel)
	c.unlink(i)
	c.entries[i].used = false
	if !c.entries[i].pinned { // a pinned slot is freed by committed
		c.free = append(c.free, i)
	}
}

// committed unpins everything: the store has it all now.
func (c *sizeCache) committed() {
	for _, i := range c.pinned {
		c.entries[i].pinned = false
		if !c.entries[i].used {
			c.free = append(c.free, i)
		}
	}
	c.pinned = c.pinned[:0]
	c.trim(c.limit)
}

// trim evicts the oldest sizes that are not pinned until at most limit are left, or only pinned ones are.
func (c *sizeCache) trim(limit int) {
	for i := c.entries[0].prev; len(c.byRel) > limit && i != 0; {
		before := c.entries[i].prev
		if !c.entries[i].pinned {
			c.drop(i)
		}
		i = before
	}
}

func (c *sizeCache) unlink(i int32) {
	e := &c.entries[i]
	c.entries[e.prev].next = e.next
	c.entries[e.next].prev = e.prev
}

func (c *sizeCache) linkNewest(i int32) {
	e, head := &c.entries[i], &c.entries[0]
	e.prev, e.next = 0, head.next
	c.entries[head.next].prev = i
	head.next = i
}
