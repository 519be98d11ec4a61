package legacy

import (
	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// foldCutter divides what is folded into outputs that tile the keys, so that their images leave no hole. It sees what
// goes in, and guesses what comes out: of each key a page at the lowest read point, and for each further one what lies
// between, or a page if that is less.
type foldCutter struct {
	rect   compaction.Rect
	target int64
	points []page.LSN

	taken map[page.Range]bool

	from page.Key   // where the present output begins
	held page.Range // the output before it, which may be joined with the last
	size int64
	key  page.Key
	some bool
	at   int   // the point that the present entries are for
	sum  int64 // of them
	of   int64 // of those for earlier points
}

func newFoldCutter(s *compaction.Snapshot, rect compaction.Rect, spec *compaction.FoldSpec, target int64) compaction.Cutter {
	points := append(append([]page.LSN{}, spec.Retain...), spec.Horizon)
	c := &foldCutter{rect: rect, target: target, points: points, from: rect.Keys.Start, taken: map[page.Range]bool{}}
	note := func(id *compaction.ID) {
		if id.Generation != s.Generation || !rect.Covers(compaction.Rect{Keys: id.Keys, LSNs: id.LSNs}) {
			return
		}
		// An output is an image layer of the lowest point and a delta above it, or a delta of all LSNs.
		if id.Image && id.LSNs.Start == points[0] || !id.Image && id.LSNs.End == rect.LSNs.End {
			c.taken[id.Keys] = true
		}
	}
	for i := range s.Layers {
		note(&s.Layers[i].ID)
	}
	for i := range s.Doomed {
		note(&s.Doomed[i])
	}
	return c
}

func (c *foldCutter) Add(e compaction.Entry, emit func(compaction.Rect)) {
	if !c.some || c.key != e.Key {
		c.endKey()
		if next := (page.Range{Start: c.from, End: e.Key}); c.some && c.size >= c.target && !c.taken[next] {
			c.emit(emit)
			c.held = next
			c.from, c.size = e.Key, 0
		}
		c.key, c.some, c.at = e.Key, true, 0
	}
	for c.at < len(c.points)-1 && c.points[c.at] < e.LSN {
		c.endPoint()
	}
	c.sum += e.Size
}

// Finish gives the last output up to the end of the keys: if its name is taken, with the one before it, or else with its
// first keys apart.
func (c *foldCutter) Finish(emit func(compaction.Rect)) {
	if !c.some {
		return
	}
	last := page.Range{Start: c.from, End: c.rect.Keys.End}
	if joined := (page.Range{Start: c.held.Start, End: last.End}); c.taken[last] && !c.held.Empty() && !c.taken[joined] {
		last, c.held = joined, page.Range{}
	}
	c.emit(emit)
	for next := last.Start.Next(); c.taken[last] && next.Less(last.End); next = next.Next() {
		head, rest := page.Range{Start: last.Start, End: next}, page.Range{Start: next, End: last.End}
		if !c.taken[head] && !c.taken[rest] {
			c.held, last = head, rest
			c.emit(emit)
		}
	}
	c.held = last
	c.emit(emit)
}

// emit gives the output that is held.
func (c *foldCutter) emit(emit func(compaction.Rect)) {
	if !c.held.Empty() {
		emit(compaction.Rect{Keys: c.held, LSNs: c.rect.LSNs})
	}
	c.held = page.Range{}
}

func (c *foldCutter) endKey() {
	if c.some {
		c.endPoint()
		c.size += c.of
		c.of = 0
	}
}

func (c *foldCutter) endPoint() {
	switch {
	case c.sum == 0:
	case c.of == 0 && !c.key.Sparse():
		c.of = pageBytes
	default:
		c.of += min(c.sum, pageBytes)
	}
	c.sum = 0
	c.at++
}
