package partitioned

import (
	"sort"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/stack"
	"github.com/stratapg/strata/page"
)

// byRange finds deltas by rectangle: an interval tree in an array, of which each part has its root in the middle. Keys are the
// numbers of borders in it, since to find what a merge takes with it means to look at all deltas a few times.
type byRange struct {
	borders []page.Key
	deltas  []indexed // by where their keys begin
}

// indexed is a delta in byRange.
type indexed struct {
	from, to int32
	reach    int32 // the highest end of keys in the part whose root is here
	layer    int32
	lsns     page.LSNRange
}

func newByRange(s *compaction.Snapshot) *byRange {
	var deltas []int
	for i := range s.Layers {
		if !s.Layers[i].Image {
			deltas = append(deltas, i)
		}
	}
	b := stack.NewBorders(len(deltas), func(i int) page.Range { return s.Layers[deltas[i]].Keys })
	x := &byRange{borders: b.Keys, deltas: make([]indexed, len(deltas))}
	for n, i := range b.ByStart() {
		layer := deltas[i]
		x.deltas[n] = indexed{from: b.From[i], to: b.To[i], layer: int32(layer), lsns: s.Layers[layer].LSNs}
	}
	build(x.deltas)
	return x
}

func build(part []indexed) (reach int32) {
	if len(part) == 0 {
		return 0
	}
	root := &part[len(part)/2]
	root.reach = max(root.to, build(part[:len(part)/2]), build(part[len(part)/2+1:]))
	return root.reach
}

// overlapping calls fn with each delta that overlaps a rectangle.
func (x *byRange) overlapping(r compaction.Rect, fn func(i int)) {
	q := query{lsns: r.LSNs, fn: fn}
	q.before = int32(sort.Search(len(x.borders), func(i int) bool { return !x.borders[i].Less(r.Keys.End) }))
	q.after = int32(sort.Search(len(x.borders), func(i int) bool { return r.Keys.Start.Less(x.borders[i]) }))
	q.visit(x.deltas)
}

// query is what is looked for: deltas that begin before a border, end at or behind another, and have one of the LSNs.
type query struct {
	before, after int32
	lsns          page.LSNRange
	fn            func(i int)
}

func (q *query) visit(part []indexed) {
	for len(part) > 0 {
		root := &part[len(part)/2]
		if root.reach < q.after {
			return
		}
		q.visit(part[:len(part)/2])
		if root.from >= q.before {
			return
		}
		if root.to >= q.after && root.lsns.Overlaps(q.lsns) {
			q.fn(int(root.layer))
		}
		part = part[len(part)/2+1:]
	}
}
