package partitioned

import (
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// byRange finds deltas by keys: an interval tree in an array, of which each part has its root in the middle.
type byRange struct {
	s     *compaction.Snapshot
	order []int      // deltas by where their keys begin
	reach []page.Key // the highest end of keys in the part whose root is here
}

func newByRange(s *compaction.Snapshot) *byRange {
	x := &byRange{s: s}
	for i := range s.Layers {
		if !s.Layers[i].Image {
			x.order = append(x.order, i)
		}
	}
	slices.SortFunc(x.order, func(a, b int) int { return s.Layers[a].Keys.Start.Compare(s.Layers[b].Keys.Start) })
	x.reach = make([]page.Key, len(x.order))
	x.build(0, len(x.order))
	return x
}

func (x *byRange) build(from, to int) (reach page.Key) {
	if from == to {
		return page.MinKey
	}
	root := (from + to) / 2
	reach = x.s.Layers[x.order[root]].Keys.End
	for _, r := range []page.Key{x.build(from, root), x.build(root+1, to)} {
		if reach.Less(r) {
			reach = r
		}
	}
	x.reach[root] = reach
	return reach
}

// overlapping calls fn with each delta that overlaps the keys.
func (x *byRange) overlapping(keys page.Range, fn func(i int)) { x.visit(keys, 0, len(x.order), fn) }

func (x *byRange) visit(keys page.Range, from, to int, fn func(i int)) {
	if from == to {
		return
	}
	root := (from + to) / 2
	if !keys.Start.Less(x.reach[root]) {
		return
	}
	x.visit(keys, from, root, fn)
	if l := &x.s.Layers[x.order[root]]; l.Keys.Start.Less(keys.End) {
		if l.Keys.Overlaps(keys) {
			fn(x.order[root])
		}
		x.visit(keys, root+1, to, fn)
	}
}
