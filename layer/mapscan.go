package layer

import (
	"slices"

	"github.com/stratapg/strata/page"
)

// keyRange is a page.Range in the map's form.
type keyRange struct{ start, end mapKey }

func packRange(r page.Range) keyRange { return keyRange{packKey(r.Start), packKey(r.End)} }

func (r keyRange) unpack() page.Range { return page.Range{Start: r.start.key(), End: r.end.key()} }

func (r keyRange) empty() bool { return !r.start.less(r.end) }

// clip gives the part of r within o.
func (r keyRange) clip(o *rect) keyRange {
	if s := o.start(); r.start.less(s) {
		r.start = s
	}
	if e := o.end(); e.less(r.end) {
		r.end = e
	}
	return r
}

func packRanges(s page.Set) []keyRange {
	out := make([]keyRange, len(s.Ranges()))
	for i, r := range s.Ranges() {
		out[i] = packRange(r)
	}
	return out
}

// narrow gives those of sorted, disjoint ranges that overlap r.
func narrow(ranges []keyRange, r *rect) []keyRange {
	if len(ranges) == 1 {
		if ranges[0].start.less(r.end()) && r.start().less(ranges[0].end) {
			return ranges
		}
		return nil
	}
	from, _ := slices.BinarySearchFunc(ranges, r.start(), func(x keyRange, k mapKey) int {
		if k.less(x.end) {
			return 1
		}
		return -1
	})
	ranges = ranges[from:]
	to, _ := slices.BinarySearchFunc(ranges, r.end(), func(x keyRange, k mapKey) int { return x.start.compare(k) })
	return ranges[:to]
}

// meets reports whether r shares LSNs with [low, end) and keys with ranges.
func (r *rect) meets(ranges []keyRange, low, end page.LSN) bool {
	return r.lo < end && r.hi > low && len(narrow(ranges, r)) > 0
}

// overlapping calls fn, newest first, for every layer that overlaps one of the sorted ranges, ends above low
// and starts below end.
func (s *stack) overlapping(ranges []keyRange, low, end page.LSN, fn func(*packed) bool) bool {
	for i := len(s.leaf.ents) - 1; i >= 0; i-- {
		if e := &s.leaf.ents[i]; e.meets(ranges, low, end) && !fn(e) {
			return false
		}
	}
	for i := len(s.kids) - 1; i >= 0; i-- {
		if kid := &s.kids[i]; kid.meets(ranges, low, end) && !kid.overlapping(ranges, low, end, fn) {
			return false
		}
	}
	return true
}

func (n *mapNode) overlapping(ranges []keyRange, low, end page.LSN, fn func(*packed) bool) bool {
	if n.box.lo >= end || n.box.hi <= low {
		return true
	}
	if ranges = narrow(ranges, &n.box); len(ranges) == 0 {
		return true
	}
	for i := range n.bucket.ents {
		if e := &n.bucket.ents[i]; e.meets(ranges, low, end) && !fn(e) {
			return false
		}
	}
	for i := range n.cells {
		if !n.cells[i].overlapping(ranges, low, end, fn) {
			return false
		}
	}
	for i := range n.kids {
		if !n.kids[i].overlapping(ranges, low, end, fn) {
			return false
		}
	}
	return true
}

// nextStart gives the lowest start above k and below limit of a layer whose start LSN is in [low, end); else
// limit.
func (s *stack) nextStart(k, limit mapKey, low, end page.LSN) mapKey {
	limit = nextStartOf(s.leaf.ents, k, limit, low, end)
	for i := range s.kids {
		kid := &s.kids[i]
		switch {
		case kid.lo >= end || kid.hi <= low || !kid.start().less(limit):
		case kid.lo >= low && kid.hi <= end && k.less(kid.start()):
			limit = kid.start()
		default:
			limit = kid.nextStart(k, limit, low, end)
		}
	}
	return limit
}

func (n *mapNode) nextStart(k, limit mapKey, low, end page.LSN) mapKey {
	if n.box.lo >= end || n.box.hi <= low || !n.box.start().less(limit) || !k.less(n.box.end()) {
		return limit
	}
	limit = nextStartOf(n.bucket.ents, k, limit, low, end)
	for i := range n.cells {
		limit = n.cells[i].nextStart(k, limit, low, end)
	}
	for i := range n.kids {
		limit = n.kids[i].nextStart(k, limit, low, end)
	}
	return limit
}

func nextStartOf(es []packed, k, limit mapKey, low, end page.LSN) mapKey {
	for i := range es {
		if e := &es[i]; e.lo >= low && e.lo < end && k.less(e.start()) && e.start().less(limit) {
			limit = e.start()
		}
	}
	return limit
}
