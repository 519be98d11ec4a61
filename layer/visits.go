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
		for _, v := range m.plan(c.Open(), end) {
			if v.Keys = c.lacking(v.Keys, v.LSNs.End); v.Keys.Empty() {
				continue
			}
			if !yield(v) {
				return
			}
		}
	}
}

// cover says which image a stretch of keys rests on.
type cover struct {
	keys  page.Range
	image *Desc // nil for none
}

// floor is the lowest LSN at which a delta may still matter.
func (c *cover) floor() page.LSN {
	if c.image == nil {
		return 0
	}
	return c.image.LSNs.End
}

// plan lists all visits that a read of keys could need, newest first.
func (m *Map) plan(keys page.Set, end page.LSN) []Visit {
	if keys.Empty() || end == 0 {
		return nil
	}
	covers := m.cover(keys, end)
	low := page.MaxLSN
	for i := range covers {
		low = min(low, covers[i].floor())
	}
	var out []Visit
	m.deltas.overlapping(keys.Ranges(), low, end, func(d *Desc) { out = appendDelta(out, d, covers, end) })
	out = appendImages(out, covers)
	slices.SortStableFunc(out, func(a, b Visit) int {
		if a.LSNs.End != b.LSNs.End {
			return -compareLSN(a.LSNs.End, b.LSNs.End)
		}
		return a.Desc.Keys.Start.Compare(b.Desc.Keys.Start)
	})
	return out
}

// cover divides keys by the newest image below end that covers them.
func (m *Map) cover(keys page.Set, end page.LSN) (out []cover) {
	for _, r := range keys.Ranges() {
		for k := r.Start; k.Less(r.End); {
			c := cover{image: m.images.newestAt(k, end, nil)}
			to := r.End
			if c.image != nil && c.image.Keys.End.Less(to) {
				to = c.image.Keys.End
			}
			if k.Next().Less(to) {
				// A newer image, or the first one, may begin within.
				to = m.images.nextStart(k, to, c.floor(), end)
			}
			c.keys = page.Range{Start: k, End: to}
			if n := len(out); n > 0 && out[n-1].image == c.image && out[n-1].keys.End == k {
				out[n-1].keys.End = to
			} else {
				out = append(out, c)
			}
			k = to
		}
	}
	return out
}

// appendDelta appends the visits of one delta: one for each LSN that it is to be asked from.
func appendDelta(out []Visit, d *Desc, covers []cover, end page.LSN) []Visit {
	i, _ := slices.BinarySearchFunc(covers, d.Keys.Start, func(c cover, k page.Key) int {
		if k.Less(c.keys.End) {
			return 1
		}
		return -1
	})
	type part struct {
		low    page.LSN
		ranges []page.Range
	}
	var parts []part
	for ; i < len(covers) && covers[i].keys.Start.Less(d.Keys.End); i++ {
		low := max(d.LSNs.Start, covers[i].floor())
		r := covers[i].keys.Intersect(d.Keys)
		if low >= min(d.LSNs.End, end) || r.Empty() {
			continue
		}
		at := slices.IndexFunc(parts, func(p part) bool { return p.low == low })
		if at < 0 {
			at = len(parts)
			parts = append(parts, part{low: low})
		}
		parts[at].ranges = append(parts[at].ranges, r)
	}
	for _, p := range parts {
		out = append(out, Visit{*d, page.NewSet(p.ranges...), page.LSNRange{Start: p.low, End: min(d.LSNs.End, end)}})
	}
	return out
}

// appendImages appends one visit for each image that something rests on.
func appendImages(out []Visit, covers []cover) []Visit {
	ranges := map[*Desc][]page.Range{}
	for i := range covers {
		if c := &covers[i]; c.image != nil {
			ranges[c.image] = append(ranges[c.image], c.keys)
		}
	}
	for i := range covers {
		if d := covers[i].image; ranges[d] != nil && d != nil {
			out = append(out, Visit{*d, page.NewSet(ranges[d]...), d.LSNs})
			delete(ranges, d)
		}
	}
	return out
}
