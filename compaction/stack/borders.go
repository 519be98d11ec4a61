package stack

import (
	"slices"

	"github.com/stratapg/strata/page"
)

// Borders are the keys at which some ranges begin and end, in order, and each range by the numbers of these.
type Borders struct {
	Keys     []page.Key
	From, To []int32
}

// NewBorders sorts the ends of n ranges.
func NewBorders(n int, keys func(int) page.Range) *Borders {
	all := make([]ordinal, 0, 2*n)
	for i := range n {
		r := keys(i)
		all = append(all, ordinalOf(r.Start, 2*i), ordinalOf(r.End, 2*i+1))
	}
	all = sorted(all)
	b := &Borders{From: make([]int32, n), To: make([]int32, n)}
	for i := range all {
		at := all[i].number()
		if i == 0 || !all[i].same(&all[i-1]) {
			r := keys(at / 2)
			k := r.Start
			if at%2 == 1 {
				k = r.End
			}
			b.Keys = append(b.Keys, k)
		}
		if last := int32(len(b.Keys) - 1); at%2 == 0 {
			b.From[at/2] = last
		} else {
			b.To[at/2] = last
		}
	}
	return b
}

// Below is the number of borders below k.
func (b *Borders) Below(k page.Key) int {
	n, _ := slices.BinarySearchFunc(b.Keys, k, page.Key.Compare)
	return n
}

// ByStart gives the ranges in the order of where they begin.
func (b *Borders) ByStart() []int32 {
	list, _ := b.by(b.From)
	return list
}

// by gives the ranges in the order of the border that at has for each: those of border i are in the list from
// starts[i] to starts[i+1].
func (b *Borders) by(at []int32) (list, starts []int32) {
	starts = make([]int32, len(b.Keys)+1)
	for _, n := range at {
		starts[n+1]++
	}
	for i := range len(b.Keys) {
		starts[i+1] += starts[i]
	}
	list = make([]int32, len(at))
	next := slices.Clone(starts)
	for i, n := range at {
		list[next[n]] = int32(i)
		next[n]++
	}
	return list, starts
}
