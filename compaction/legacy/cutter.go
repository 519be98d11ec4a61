package legacy

import (
	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// cutter divides a run of L0s into outputs of at most target bytes that end between keys, and at the holes worth a cut. A key that
// has more than target bytes is cut by LSN into outputs of its own, the first of which begins where the run does, so that
// no gap of LSNs lies under it.
//
// Which holes are the best is known when all have been seen. Until the first one that could be, outputs are given as they
// become full; from there on what follows is held as grains.
type cutter struct {
	out    filler
	holes  holes
	grains sketch

	key  grain // the present one
	some bool
	size int64 // of its last piece
	n    int64 // entries of it there
}

// grain is a key, or several that are not to be taken apart.
type grain struct {
	keys page.Range
	size int64
	// pieces are the LSNs at which a key that is too large is cut.
	pieces []page.LSN
	// hole is the rank of the hole before it, 0 if that is none.
	hole int
}

func newCutter(lsns page.LSNRange, target int64, h holes) *cutter {
	return &cutter{out: filler{lsns: lsns, target: target}, holes: h, grains: newSketch(target)}
}

func (c *cutter) Add(e compaction.Entry, emit func(compaction.Rect)) {
	if !c.some || c.key.keys.Start != e.Key {
		c.begin(page.Range{Start: e.Key, End: e.Key.Next()}, emit)
	}
	if c.size+e.Size > c.out.target && c.n > 0 {
		c.key.pieces = append(c.key.pieces, e.LSN)
		c.size, c.n = 0, 0
	}
	c.size += e.Size
	c.key.size += e.Size
	c.n++
}

// grainParts are the parts of an output of which a cut may miss the place.
const grainParts = 32

var _ compaction.CoarseCutter = (*cutter)(nil)

// Grain is a small part of an output.
func (c *cutter) Grain() int64 { return c.out.target / grainParts }

// Whole reports whether there can be no hole worth a cut within keys.
func (c *cutter) Whole(keys page.Range) bool { return c.holes.rank(keys.Start, keys.End) == 0 }

// AddWhole takes keys as if they were one.
func (c *cutter) AddWhole(keys page.Range, size int64, emit func(compaction.Rect)) {
	c.begin(keys, emit)
	c.key.size = size
}

// begin passes the present key on, and begins the next.
func (c *cutter) begin(keys page.Range, emit func(compaction.Rect)) {
	next := grain{keys: keys}
	if c.some {
		next.hole = c.holes.rank(c.key.keys.End, keys.Start)
		c.endKey(emit)
	}
	c.key, c.some, c.size, c.n = next, true, 0, 0
}

// endKey passes the present key on.
func (c *cutter) endKey(emit func(compaction.Rect)) {
	if c.key.hole == 0 && c.grains.empty() {
		c.out.add(&c.key, false, emit)
		return
	}
	c.grains.add(c.key)
}

func (c *cutter) Finish(emit func(compaction.Rect)) {
	if c.some {
		c.endKey(emit)
	}
	best := c.grains.best(c.holes.most)
	for i := range c.grains.all {
		c.out.add(&c.grains.all[i], best[i], emit)
	}
	c.out.end(emit)
}

// filler fills outputs with grains.
type filler struct {
	lsns   page.LSNRange
	target int64
	keys   page.Range // of the output that grows
	size   int64
}

// add puts a grain into the output that grows, or ends that and begins the next.
func (f *filler) add(g *grain, cut bool, emit func(compaction.Rect)) {
	if cut || len(g.pieces) > 0 || f.size+g.size > f.target {
		f.end(emit)
	}
	if len(g.pieces) > 0 {
		from := f.lsns.Start
		for _, at := range g.pieces {
			emit(compaction.Rect{Keys: g.keys, LSNs: page.LSNRange{Start: from, End: at}})
			from = at
		}
		emit(compaction.Rect{Keys: g.keys, LSNs: page.LSNRange{Start: from, End: f.lsns.End}})
		return
	}
	if f.keys.Empty() {
		f.keys.Start = g.keys.Start
	}
	f.keys.End = g.keys.End
	f.size += g.size
}

// end gives the output that grows.
func (f *filler) end(emit func(compaction.Rect)) {
	if !f.keys.Empty() {
		emit(compaction.Rect{Keys: f.keys, LSNs: f.lsns})
	}
	f.keys, f.size = page.Range{}, 0
}
