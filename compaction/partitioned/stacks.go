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
type shown []stack.Item

func shownOf(s *compaction.Snapshot) shown {
	all := make(shown, 0, len(s.Layers))
	for i := range s.Layers {
		l := &s.Layers[i]
		if len(l.Moved) == 0 {
			all.add(l, l.Keys)
			continue
		}
		for _, r := range l.Rest().Ranges() {
			all.add(l, r)
		}
	}
	return all
}

// add adds some keys of a layer, with the most records that it has of any of its keys.
func (a *shown) add(l *compaction.Layer, keys page.Range) {
	one := func(keys page.Range, records int) {
		if !keys.Empty() {
			*a = append(*a, stack.Item{Keys: keys, End: l.LSNs.End, Image: l.Image, Records: records})
		}
	}
	if l.Image || l.Chains == nil {
		one(keys, 0)
		return
	}
	pages, metadata := split(keys)
	one(pages, l.Chains.Most())
	one(metadata, 0)
}

// split divides keys in pages, and metadata, of which nothing is replayed, with what lies behind them.
func split(keys page.Range) (pages, metadata page.Range) {
	at := sparse.Start
	if at.Less(keys.Start) {
		at = keys.Start
	} else if keys.End.Less(at) {
		at = keys.End
	}
	return page.Range{Start: keys.Start, End: at}, page.Range{Start: at, End: keys.End}
}

// find sweeps over the keys.
func (p *planner) find() (found stacks) {
	all := shownOf(p.s)
	var dear []crowd
	stack.Sweep(all, func(x stack.Stretch) {
		found.highest = max(found.highest, x.Height)
		if x.Height < p.trigger && x.Records == 0 {
			return
		}
		var above page.LSN
		if x.Image >= 0 {
			above = all[x.Image].End
		}
		if x.Records > 0 {
			dear = append(dear, crowd{x.Keys, above, x.Records})
		}
		if x.Height >= p.trigger {
			high := p.stackAt(x.Keys.Start, above)
			found.add(x.Keys, high[:min(len(high), maxStack)])
		}
	})
	found.records, found.long = p.findLong(dear)
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
	all := p.deltasAt(k, above)
	slices.SortFunc(all, p.newer)
	return all
}

// deltasAt is stackAt in no order.
func (p *planner) deltasAt(k page.Key, above page.LSN) []int {
	if p.room = p.room[:0]; p.deltas == nil {
		p.deltas, p.taken = newByRange(p.s), make([]int32, len(p.s.Layers))
	}
	here := compaction.Rect{Keys: page.Range{Start: k, End: k.Next()}, LSNs: page.LSNRange{Start: above, End: page.MaxLSN}}
	p.deltas.overlapping(here, func(i int) {
		if !slices.ContainsFunc(p.s.Layers[i].Moved, func(r page.Range) bool { return r.Contains(k) }) {
			p.room = append(p.room, i)
		}
	})
	return p.room
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
