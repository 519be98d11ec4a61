package mock

import (
	"cmp"
	"slices"
)

// scratch is memory that sorting and merging fill and need no more when they have done. Fresh memory for each of them costs
// half as much as what they do with it.
type scratch struct{ free [][]entry }

// maxFree is how many pieces of memory are kept.
const maxFree = 4

// take gives room for n entries, with anything in it.
func (s *scratch) take(n int) []entry {
	for i, es := range s.free {
		if cap(es) >= n {
			s.free = slices.Delete(s.free, i, i+1)
			return es[:n]
		}
	}
	return make([]entry, n)
}

// give takes what nobody looks at any more. Of too many pieces the smallest goes.
func (s *scratch) give(es []entry) {
	s.free = append(s.free, es)
	slices.SortFunc(s.free, func(a, b []entry) int { return cmp.Compare(cap(a), cap(b)) })
	if n := len(s.free); n > maxFree {
		s.free = slices.Delete(s.free, 0, n-maxFree)
	}
}

// sortByKey sorts entries whose records ascend. It keeps the order of those of one key, so only digits of keys are looked at.
// The caller has what comes back, and no longer what it gave.
func (s *scratch) sortByKey(es []entry) []entry {
	var all entry
	for _, e := range es {
		all |= e
	}
	const digit = 11
	in, out := es, s.take(len(es))
	for shift := uint(keyPos); all>>shift != 0; shift += digit {
		var count [1 << digit]int
		for _, e := range in {
			count[e>>shift&(1<<digit-1)]++
		}
		at := 0
		for i, n := range count {
			count[i] = at
			at += n
		}
		for _, e := range in {
			d := e >> shift & (1<<digit - 1)
			out[count[d]] = e
			count[d]++
		}
		in, out = out, in
	}
	s.give(out)
	return in
}
