package partitioned

import (
	"cmp"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/stack"
	"github.com/stratapg/strata/page"
)

// stacks are what a sweep over all keys found.
type stacks struct {
	highest, records int          // of all
	over             []segment    // those at or above the trigger, in the order of keys
	long             []page.Range // where reads replay as many records as is too many, in the order of keys
}

// segment is a range of keys with one stack: the deltas above the newest image, newest first.
type segment struct {
	keys  page.Range
	stack []int
}

// maxStack bounds what is looked at of a stack that got far too high under another strategy.
const maxStack = 1024

// shown are stretches of keys of layers that have not moved from them: others answer for those that have.
type shown struct {
	items  []stack.Item
	layers []int // of items
}

func shownOf(s *compaction.Snapshot) (all shown) {
	all.items, all.layers = make([]stack.Item, 0, len(s.Layers)), make([]int, 0, len(s.Layers))
	for i := range s.Layers {
		l := &s.Layers[i]
		if len(l.Moved) == 0 {
			all.add(i, l, l.Keys)
			continue
		}
		for _, r := range l.Rest().Ranges() {
			all.add(i, l, r)
		}
	}
	return all
}

// add adds some keys of a layer: apart those of which it holds different numbers of records.
func (a *shown) add(i int, l *compaction.Layer, keys page.Range) {
	one := func(keys page.Range, records int) {
		if !keys.Empty() {
			a.items, a.layers = append(a.items, stack.Item{Keys: keys, End: l.LSNs.End, Image: l.Image, Records: records}), append(a.layers, i)
		}
	}
	if l.Image || l.Chains == nil {
		one(keys, 0)
		return
	}
	if sparse.Start.Less(keys.End) { // of metadata nothing is replayed
		at := keys.Start
		if at.Less(sparse.Start) {
			at = sparse.Start
		}
		one(page.Range{Start: at, End: keys.End}, 0)
		keys.End = at
	}
	for _, c := range l.Chains.Long {
		if c.Keys.Overlaps(keys) {
			here := c.Keys.Intersect(keys)
			one(page.Range{Start: keys.Start, End: here.Start}, l.Chains.Rest)
			one(here, c.Records)
			keys.Start = here.End
		}
	}
	one(keys, l.Chains.Rest)
}

// find sweeps over the keys.
func (p *planner) find() (found stacks) {
	all := shownOf(p.s)
	trigger := recordsTrigger(p.o.MaxRecords)
	stack.Sweep(all.items, func(x stack.Stretch) {
		found.highest = max(found.highest, x.Height)
		found.records = max(found.records, x.Records)
		if x.Records >= trigger {
			if n := len(found.long); n > 0 && found.long[n-1].End == x.Keys.Start {
				found.long[n-1].End = x.Keys.End
			} else {
				found.long = append(found.long, x.Keys)
			}
		}
		if x.Height < p.trigger {
			return
		}
		var above page.LSN
		if x.Image >= 0 {
			above = all.items[x.Image].End
		}
		found.add(x.Keys, p.stackAt(x.Keys.Start, above))
	})
	return found
}

// add notes a stretch, as a part of the one before it if it has the same stack.
func (f *stacks) add(keys page.Range, stack []int) {
	if k := len(f.over); k > 0 && f.over[k-1].keys.End == keys.Start && slices.Equal(f.over[k-1].stack, stack) {
		f.over[k-1].keys.End = keys.End
		return
	}
	f.over = append(f.over, segment{keys, slices.Clone(stack)})
}

// stackAt gives the deltas of a key that reach above an LSN, newest first. It is valid until the next call.
func (p *planner) stackAt(k page.Key, above page.LSN) []int {
	if p.room = p.room[:0]; p.deltas == nil {
		p.deltas, p.taken = newByRange(p.s), make([]int32, len(p.s.Layers))
	}
	here := compaction.Rect{Keys: page.Range{Start: k, End: k.Next()}, LSNs: page.LSNRange{Start: above, End: page.MaxLSN}}
	p.deltas.overlapping(here, func(i int) {
		if !slices.ContainsFunc(p.s.Layers[i].Moved, func(r page.Range) bool { return r.Contains(k) }) {
			p.room = append(p.room, i)
		}
	})
	slices.SortFunc(p.room, p.newer)
	return p.room[:min(len(p.room), maxStack)]
}

// newer orders deltas as a read meets them.
func (p *planner) newer(a, b int) int {
	x, y := &p.s.Layers[a], &p.s.Layers[b]
	if c := cmp.Compare(y.LSNs.End, x.LSNs.End); c != 0 {
		return c
	}
	if c := cmp.Compare(y.LSNs.Start, x.LSNs.Start); c != 0 {
		return c
	}
	if c := x.Keys.Start.Compare(y.Keys.Start); c != 0 {
		return c
	}
	if c := x.Keys.End.Compare(y.Keys.End); c != 0 {
		return c
	}
	return cmp.Compare(x.Generation, y.Generation)
}
