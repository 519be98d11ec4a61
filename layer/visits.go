package layer

import (
	"iter"
	"slices"

	"github.com/stratapg/strata/page"
)

// Visit is one layer to be asked for some keys within an LSN range.
type Visit struct {
	Desc Desc
	Keys page.Set
	LSNs page.LSNRange
}

// Visits gives, newest first, the layers that may hold what c still lacks of its keys below the exclusive
// LSN end (a read at LSN x asks with x+1). The caller calls Collect(ctx, c, v.Keys, v.LSNs) on each before
// it takes the next. Keys that are complete are not asked again, so the caller narrows nothing.
//
//	for v := range m.Visits(c, lsn+1) { … reader(v.Desc).Collect(ctx, c, v.Keys, v.LSNs) … }
//	if !c.Open().Empty() { … the ancestor: for v := range parent.Visits(c, branchLSN+1) … }
//
// Layers may overlap in any way. For every stretch of keys the newest image below end is found first: deltas
// are asked only above its LSN, and the image last. Where two deltas overlap in LSN too, both are asked
// until no older value can count; the Collector sorts what they give.
func (m *Map) Visits(c *Collector, end page.LSN) iter.Seq[Visit] {
	return func(yield func(Visit) bool) {
		for _, p := range m.plan(c.Open(), end) {
			keys := c.lacking(page.NewSet(p.ranges...), p.lsns.End)
			if !keys.Empty() && !yield(Visit{p.e.desc(), keys, p.lsns}) {
				return
			}
		}
	}
}

// cover says which image a stretch of keys rests on.
type cover struct {
	keyRange
	image *packed // nil for none
}

// floor is the lowest LSN at which a delta may still matter.
func (c *cover) floor() page.LSN {
	if c.image == nil {
		return 0
	}
	return c.image.hi
}

// planned is a visit before its keys are a set.
type planned struct {
	e      *packed
	ranges []page.Range
	lsns   page.LSNRange
}

// plan lists all visits that a read of keys could need, newest first.
func (m *Map) plan(keys page.Set, end page.LSN) []planned {
	if keys.Empty() || end == 0 {
		return nil
	}
	ranges := packRanges(keys)
	covers := m.cover(ranges, end)
	low := page.MaxLSN
	for i := range covers {
		low = min(low, covers[i].floor())
	}
	var out []planned
	add := func(e *packed) bool {
		out = appendDelta(out, e, covers, end)
		return true
	}
	m.l0.s.overlapping(ranges, low, end, add)
	m.deltas.overlapping(ranges, low, end, add)
	out = appendImages(out, covers)
	slices.SortStableFunc(out, func(a, b planned) int {
		if a.lsns.End != b.lsns.End {
			return -compareLSN(a.lsns.End, b.lsns.End)
		}
		return a.e.start().compare(b.e.start())
	})
	return out
}

// cover divides ranges by the newest image below end that covers them.
func (m *Map) cover(ranges []keyRange, end page.LSN) (out []cover) {
	for _, r := range ranges {
		for k := r.start; k.less(r.end); {
			c := cover{image: m.images.newest(&k, end, 0)}
			to := r.end
			if c.image != nil && c.image.end().less(to) {
				to = c.image.end()
			}
			if k != to.prev() {
				// A newer image, or the first one, may begin within.
				to = m.images.nextStart(k, to, c.floor(), end)
			}
			c.keyRange = keyRange{k, to}
			if n := len(out); n > 0 && out[n-1].image == c.image && out[n-1].end == k {
				out[n-1].end = to
			} else {
				out = append(out, c)
			}
			k = to
		}
	}
	return out
}

// appendDelta appends the visits of one delta: one for each LSN that it is to be asked from.
func appendDelta(out []planned, e *packed, covers []cover, end page.LSN) []planned {
	i, _ := slices.BinarySearchFunc(covers, e.start(), func(c cover, k mapKey) int {
		if k.less(c.end) {
			return 1
		}
		return -1
	})
	first := len(out)
	for ; i < len(covers) && covers[i].start.less(e.end()); i++ {
		low := max(e.lo, covers[i].floor())
		r := covers[i].clip(&e.rect)
		if low >= min(e.hi, end) || r.empty() {
			continue
		}
		at := slices.IndexFunc(out[first:], func(p planned) bool { return p.lsns.Start == low })
		if at < 0 {
			at = len(out) - first
			out = append(out, planned{e: e, lsns: page.LSNRange{Start: low, End: min(e.hi, end)}})
		}
		to := &out[first+at].ranges
		*to = append(*to, r.unpack())
	}
	return out
}

// appendImages appends one visit for each image that something rests on.
func appendImages(out []planned, covers []cover) []planned {
	at := map[*packed]int{}
	for i := range covers {
		c := &covers[i]
		if c.image == nil {
			continue
		}
		n, ok := at[c.image]
		if !ok {
			n = len(out)
			at[c.image] = n
			out = append(out, planned{e: c.image, lsns: c.image.lsns()})
		}
		out[n].ranges = append(out[n].ranges, c.unpack())
	}
	return out
}
