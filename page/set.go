package page

import (
	"slices"
	"strings"
)

// Set is a set of keys held as sorted ranges that neither overlap nor touch. The zero Set is empty. A Set
// is immutable once built: operations return new ones.
type Set struct{ ranges []Range }

// NewSet builds the union of ranges given in any order, overlapping or not. Empty ranges are dropped.
func NewSet(ranges ...Range) Set {
	if len(ranges) == 1 && !ranges[0].Empty() {
		return Set{[]Range{ranges[0]}}
	}
	in := make([]Range, 0, len(ranges))
	for _, r := range ranges {
		if !r.Empty() {
			in = append(in, r)
		}
	}
	slices.SortFunc(in, func(a, b Range) int { return a.Start.Compare(b.Start) })
	out := in[:0]
	for _, r := range in {
		if n := len(out); n > 0 && !out[n-1].End.Less(r.Start) {
			if out[n-1].End.Less(r.End) {
				out[n-1].End = r.End
			}
			continue
		}
		out = append(out, r)
	}
	return Set{out}
}

// SetOfKeys builds the set of single keys given in any order.
func SetOfKeys(keys ...Key) Set {
	if len(keys) == 1 && keys[0] != MaxKey {
		return Set{[]Range{{keys[0], keys[0].Next()}}}
	}
	rs := make([]Range, len(keys))
	for i, k := range keys {
		rs[i] = Range{k, k.Next()}
	}
	return NewSet(rs...)
}

// Ranges gives the sorted, disjoint ranges. The caller must not change them.
func (s Set) Ranges() []Range { return s.ranges }

// Single gives the key of a set that has one key only.
func (s Set) Single() (one bool, k Key) {
	if len(s.ranges) != 1 {
		return false, Key{}
	}
	r := &s.ranges[0]
	return r.Start.Next() == r.End, r.Start
}

// Empty reports whether no key is in s.
func (s Set) Empty() bool { return len(s.ranges) == 0 }

// Contains reports whether k is in s.
func (s Set) Contains(k Key) bool {
	i := s.firstEndingAfter(k)
	return i < len(s.ranges) && s.ranges[i].Contains(k)
}

// Overlaps reports whether s and r share a key.
func (s Set) Overlaps(r Range) bool {
	if r.Empty() {
		return false
	}
	i := s.firstEndingAfter(r.Start)
	return i < len(s.ranges) && s.ranges[i].Overlaps(r)
}

// firstEndingAfter gives the index of the first range whose end is above k.
func (s Set) firstEndingAfter(k Key) int {
	i, _ := slices.BinarySearchFunc(s.ranges, k, func(r Range, k Key) int {
		if k.Less(r.End) {
			return 1
		}
		return -1
	})
	return i
}

// Intersect gives the keys of s that lie in r.
func (s Set) Intersect(r Range) Set {
	if r.Empty() {
		return Set{}
	}
	if n := len(s.ranges); n > 0 && r.Covers(Range{s.ranges[0].Start, s.ranges[n-1].End}) {
		return s
	}
	var out []Range
	for i := s.firstEndingAfter(r.Start); i < len(s.ranges) && s.ranges[i].Start.Less(r.End); i++ {
		out = append(out, s.ranges[i].Intersect(r))
	}
	return Set{out}
}

// Union gives the keys in either.
func (s Set) Union(o Set) Set {
	return NewSet(append(slices.Clone(s.ranges), o.ranges...)...)
}

// Subtract gives the keys of s that are not in o.
func (s Set) Subtract(o Set) Set {
	var out []Range
	for _, r := range s.ranges {
		for i := o.firstEndingAfter(r.Start); i < len(o.ranges) && o.ranges[i].Start.Less(r.End); i++ {
			cut := o.ranges[i]
			if r.Start.Less(cut.Start) {
				out = append(out, Range{r.Start, cut.Start})
			}
			r.Start = cut.End
			if r.Empty() {
				break
			}
		}
		if !r.Empty() {
			out = append(out, r)
		}
	}
	return Set{out}
}

// String lists the ranges, separated by blanks.
func (s Set) String() string {
	parts := make([]string, len(s.ranges))
	for i, r := range s.ranges {
		parts[i] = r.String()
	}
	return strings.Join(parts, " ")
}
