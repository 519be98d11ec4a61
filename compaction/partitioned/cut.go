package partitioned

import (
	"math/bits"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// roundCut makes a cutter that divides a rectangle into outputs of about target bytes at round keys, none of which has
// the name of a layer that is there.
func roundCut(s *compaction.Snapshot, rect compaction.Rect, target int64) func() compaction.Cutter {
	return func() compaction.Cutter {
		return compaction.Distinct(s, rect, &roundCutter{keys: rect.Keys, lsns: rect.LSNs, target: target, start: rect.Keys.Start})
	}
}

// roundCutter cuts at the roundest key at which an output has between one half and three halves of the target. A key that
// alone has more is cut by LSN.
type roundCutter struct {
	keys   page.Range
	lsns   page.LSNRange
	target int64

	start page.Key // of the output that grows
	size  int64    // bytes from start on
	last  page.Key
	some  bool
	// cuts are the places where it may end, in the order of keys; each is less round than those before it.
	cuts []place
	giant
}

// place is a key to cut at.
type place struct {
	key    page.Key
	round  int
	before int64 // bytes from start to here
}

// giant is a key of which there is more than fits an output.
type giant struct {
	slices []page.LSN // where to cut it
	slice  int64      // bytes since the last cut
}

// Add takes the next entry.
func (c *roundCutter) Add(e compaction.Entry, emit func(compaction.Rect)) {
	if c.some && e.Key != c.last {
		c.endKey(emit)
		c.offer(between(c.last, e.Key))
		c.shrink(emit)
	}
	if !c.some || e.Key != c.last {
		c.giant = giant{slices: c.slices[:0]}
	} else if c.slice+e.Size > c.target {
		c.slices, c.slice = append(c.slices, e.LSN), 0
	}
	c.slice += e.Size
	c.size += e.Size
	c.last, c.some = e.Key, true
}

// Finish gives the rest.
func (c *roundCutter) Finish(emit func(compaction.Rect)) {
	if c.some {
		c.endKey(emit)
	}
	if !c.start.Less(c.keys.End) {
		return
	}
	// A layer does not stand in the way of reads of what grows behind it, and of metadata; and one output of all keys would
	// look like an L0.
	stretches := c.last.Less(sparse.Start) && sparse.Start.Less(c.keys.End)
	whole := c.start == page.MinKey && c.keys.End == page.MaxKey
	if end := c.last.Next(); c.start.Less(end) && (stretches || whole) {
		c.emit(end, emit)
	}
	c.emit(c.keys.End, emit)
}

// emit gives the output from start to end.
func (c *roundCutter) emit(end page.Key, emit func(compaction.Rect)) {
	emit(compaction.Rect{Keys: page.Range{Start: c.start, End: end}, LSNs: c.lsns})
	c.start = end
}

// offer notes a place at which the output may end.
func (c *roundCutter) offer(key page.Key, round int) {
	for n := len(c.cuts); n > 0 && c.cuts[n-1].round <= round && 2*c.size < 3*c.target; n-- {
		c.cuts = c.cuts[:n-1]
	}
	c.cuts = append(c.cuts, place{key, round, c.size})
}

// shrink gives outputs while what has been gathered is too much for one.
func (c *roundCutter) shrink(emit func(compaction.Rect)) {
	for 2*c.size >= 3*c.target && len(c.cuts) > 0 {
		best := -1
		for i, p := range c.cuts {
			fits := 2*p.before <= 3*c.target
			if 2*p.before >= c.target && (best < 0 || fits && p.round > c.cuts[best].round) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		c.cut(best, emit)
	}
}

func (c *roundCutter) cut(at int, emit func(compaction.Rect)) {
	p := c.cuts[at]
	c.emit(p.key, emit)
	c.size -= p.before
	rest := c.cuts[:0]
	for _, q := range c.cuts[at+1:] {
		q.before -= p.before
		rest = append(rest, q)
	}
	c.cuts = rest
}

// endKey gives the outputs of the last key, if it is too much for one.
func (c *roundCutter) endKey(emit func(compaction.Rect)) {
	if len(c.slices) == 0 {
		return
	}
	if c.start.Less(c.last) {
		c.emit(c.last, emit)
	}
	from := c.lsns.Start
	one := page.Range{Start: c.last, End: c.last.Next()}
	for _, at := range append(c.slices, c.lsns.End) {
		emit(compaction.Rect{Keys: one, LSNs: page.LSNRange{Start: from, End: at}})
		from = at
	}
	c.start, c.size, c.cuts = one.End, 0, c.cuts[:0]
}

// relationRound is the roundness of a key where something else begins than a block of the same fork; block
// numbers have up to 32.
const relationRound = 64

// between gives the roundest key above a, up to b.
func between(a, b page.Key) (page.Key, int) {
	differing := a.F6 ^ b.F6
	x, y := a, b
	x.F6, y.F6 = 0, 0
	if x != y {
		return y, relationRound
	}
	top := bits.Len32(differing) - 1 // they are equal above
	b.F6 = b.F6 >> top << top
	return b, bits.TrailingZeros32(b.F6)
}
