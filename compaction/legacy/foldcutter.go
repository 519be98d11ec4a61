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

	from page.Key // where the present output begins
	size int64
	key  page.Key
	some bool
	at   int   // the point that the present entries are for
	sum  int64 // of them
	of   int64 // of those for earlier points
}

// newFoldCutter makes one that gives no output of which a layer would have a name that is taken.
func newFoldCutter(s *compaction.Snapshot, rect compaction.Rect, spec *compaction.FoldSpec, target int64) compaction.Cutter {
	points := append(append([]page.LSN{}, spec.Retain...), spec.Horizon)
	c := &foldCutter{rect: rect, target: target, points: points, from: rect.Keys.Start}
	return compaction.DistinctFold(s, rect, spec, c)
}

func (c *foldCutter) Add(e compaction.Entry, emit func(compaction.Rect)) {
	if !c.some || c.key != e.Key {
		c.endKey()
		if c.some && c.size >= c.target {
			c.emit(e.Key, emit)
		}
		c.key, c.some, c.at = e.Key, true, 0
	}
	for c.at < len(c.points)-1 && c.points[c.at] < e.LSN {
		c.endPoint()
	}
	c.sum += e.Size
}

func (c *foldCutter) Finish(emit func(compaction.Rect)) {
	if c.some {
		c.emit(c.rect.Keys.End, emit)
	}
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

func (c *foldCutter) emit(end page.Key, emit func(compaction.Rect)) {
	emit(compaction.Rect{Keys: page.Range{Start: c.from, End: end}, LSNs: c.rect.LSNs})
	c.from, c.size = end, 0
}
