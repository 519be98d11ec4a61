package stack

import (
	"cmp"
	"slices"

	"github.com/stratapg/strata/page"
)

// Borders are the keys at which some ranges begin and end, in order, and each range by the numbers of these.
type Borders struct {
	Keys     []page.Key
	From, To []int32
}

// border is an end of a range, its key in the form that compares fastest.
type border struct {
	high, mid, low uint64
	at             int32 // twice the range's index, and one more for its end
}

func borderOf(k page.Key, at int) border {
	return border{uint64(k.F1)<<32 | uint64(k.F2), uint64(k.F3)<<32 | uint64(k.F4), uint64(k.F5)<<32 | uint64(k.F6), int32(at)}
}

// NewBorders sorts the ends of n ranges.
func NewBorders(n int, keys func(int) page.Range) *Borders {
	all := make([]border, 0, 2*n)
	for i := range n {
		r := keys(i)
		all = append(all, borderOf(r.Start, 2*i), borderOf(r.End, 2*i+1))
	}
	slices.SortFunc(all, func(a, b border) int {
		switch {
		case a.high != b.high:
			return cmp.Compare(a.high, b.high)
		case a.mid != b.mid:
			return cmp.Compare(a.mid, b.mid)
		}
		return cmp.Compare(a.low, b.low)
	})
	b := &Borders{From: make([]int32, n), To: make([]int32, n)}
	for i, e := range all {
		r := keys(int(e.at / 2))
		k := r.Start
		if e.at%2 == 1 {
			k = r.End
		}
		if p := &all[max(i, 1)-1]; i == 0 || p.high != e.high || p.mid != e.mid || p.low != e.low {
			b.Keys = append(b.Keys, k)
		}
		if e.at%2 == 0 {
			b.From[e.at/2] = int32(len(b.Keys) - 1)
		} else {
			b.To[e.at/2] = int32(len(b.Keys) - 1)
		}
	}
	return b
}

// Below is the number of borders below k.
func (b *Borders) Below(k page.Key) int {
	n, _ := slices.BinarySearchFunc(b.Keys, k, page.Key.Compare)
	return n
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
