package compaction

import (
	"slices"

	"github.com/stratapg/strata/page"
)

// coverage answers, for an LSN that only rises, which image layer is the newest at or below it over a range of keys: more
// precisely, the least of these newest over the range, which is what decides whether a layer is hidden everywhere. It is a segment tree over the stretches
// between the ends of images; an image is assigned to its keys when the LSN reaches it, and so hides older ones.
// Images are known by their ranks in an order of rising LSNs; rank 0 is none.
type coverage struct {
	images []*Layer // by rank - 1
	next   int      // of images not yet assigned
	bounds []page.Key
	least  []int32 // of the stretches below each node
	all    []int32 // rank assigned to all of the node, 0 if its children differ
}

// newCoverage takes the images in order of rank.
func newCoverage(images []*Layer) *coverage {
	c := &coverage{images: images}
	for _, l := range images {
		c.bounds = append(c.bounds, l.Keys.Start, l.Keys.End)
		for _, m := range l.Moved {
			c.bounds = append(c.bounds, m.Start, m.End)
		}
	}
	slices.SortFunc(c.bounds, page.Key.Compare)
	c.bounds = slices.Compact(c.bounds)
	// Stretch i ends at bounds[i]; the last has no end.
	n := 4 * (len(c.bounds) + 1)
	c.least, c.all = make([]int32, n), make([]int32, n)
	return c
}

// rise assigns the images at or below an LSN.
func (c *coverage) rise(lsn page.LSN) {
	for c.next < len(c.images) && c.images[c.next].LSNs.Start <= lsn {
		l := c.images[c.next]
		c.next++
		if len(l.Moved) == 0 {
			c.assign(1, 0, len(c.bounds), c.stretches(l.Keys), int32(c.next))
			continue
		}
		for _, r := range l.Rest().Ranges() {
			c.assign(1, 0, len(c.bounds), c.stretches(r), int32(c.next))
		}
	}
}

// span is a range of stretches, both ends included.
type span struct{ from, to int }

// stretches gives those that a range of keys touches.
func (c *coverage) stretches(r page.Range) span {
	above := func(k page.Key) int {
		n, found := slices.BinarySearchFunc(c.bounds, k, page.Key.Compare)
		if found {
			n++
		}
		return n
	}
	to, _ := slices.BinarySearchFunc(c.bounds, r.End, page.Key.Compare)
	return span{above(r.Start), to}
}

func (c *coverage) assign(node, from, to int, s span, rank int32) {
	if s.from <= from && to <= s.to {
		c.least[node], c.all[node] = rank, rank
		return
	}
	c.push(node)
	mid := (from + to) / 2
	if s.from <= mid {
		c.assign(2*node, from, mid, s, rank)
	}
	if s.to > mid {
		c.assign(2*node+1, mid+1, to, s, rank)
	}
	c.least[node] = min(c.least[2*node], c.least[2*node+1])
}

// push hands what was assigned to all of a node down to its children.
func (c *coverage) push(node int) {
	if rank := c.all[node]; rank != 0 {
		for _, child := range [...]int{2 * node, 2*node + 1} {
			c.least[child], c.all[child] = rank, rank
		}
		c.all[node] = 0
	}
}

// newest gives the least rank over a range of keys.
func (c *coverage) newest(keys page.Range) int32 {
	return c.query(1, 0, len(c.bounds), c.stretches(keys))
}

func (c *coverage) query(node, from, to int, s span) int32 {
	if s.from <= from && to <= s.to || c.all[node] != 0 {
		return c.least[node]
	}
	mid := (from + to) / 2
	switch {
	case s.to <= mid:
		return c.query(2*node, from, mid, s)
	case s.from > mid:
		return c.query(2*node+1, mid+1, to, s)
	}
	return min(c.query(2*node, from, mid, s), c.query(2*node+1, mid+1, to, s))
}
