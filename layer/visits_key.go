package layer

import (
	"cmp"
	"iter"
	"slices"

	"github.com/stratapg/strata/page"
)

// keyVisit is one layer that is to be asked for a single key.
type keyVisit struct {
	e    *packed
	lsns page.LSNRange
}

// VisitsOfKey is Visits for a Collector that lacks one key: the same layers in the same order, without sets
// made for each. Under a stack of L0s that is most of what planning costs.
func (m *Map) VisitsOfKey(c *Collector, end page.LSN) iter.Seq[Visit] {
	return func(yield func(Visit) bool) {
		keys := c.Open()
		if one, k := keys.Single(); one && end > 0 {
			c.visitPlan = m.planKey(c.visitPlan[:0], k, end)
		} else {
			c.visitPlan = c.visitPlan[:0]
		}
		for i := range c.visitPlan {
			v := &c.visitPlan[i]
			// What has been found may be older than what this layer holds, if layers overlap.
			if c.Open().Empty() && c.minInit >= v.lsns.End-1 {
				continue
			}
			if !yield(Visit{v.e.desc(), keys, v.lsns}) {
				return
			}
		}
	}
}

// planKey lists all visits that a read of k could need, newest first.
func (m *Map) planKey(out []keyVisit, k page.Key, end page.LSN) []keyVisit {
	ranges := []keyRange{packRange(page.Range{Start: k, End: k.Next()})}
	var image *packed
	if covers := m.cover(ranges, end); len(covers) > 0 {
		image = covers[0].image
	}
	floor := page.LSN(0)
	if image != nil {
		floor = image.hi
	}
	add := func(e *packed) bool {
		out = append(out, keyVisit{e, page.LSNRange{Start: max(e.lo, floor), End: min(e.hi, end)}})
		return true
	}
	m.l0.s.overlapping(ranges, floor, end, add)
	m.deltas.overlapping(ranges, floor, end, add)
	newestFirst := func(a, b keyVisit) int {
		if c := cmp.Compare(b.lsns.End, a.lsns.End); c != 0 {
			return c
		}
		return a.e.start().compare(b.e.start())
	}
	if !slices.IsSortedFunc(out, newestFirst) {
		slices.SortStableFunc(out, newestFirst)
	}
	if image != nil {
		out = append(out, keyVisit{image, image.lsns()})
	}
	return out
}
