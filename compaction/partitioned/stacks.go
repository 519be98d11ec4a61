package partitioned

import (
	"cmp"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// stacks are what a sweep over all keys found.
type stacks struct {
	highest int       // of all
	over    []segment // those at or above the trigger, in the order of keys
}

// segment is a range of keys with one stack: the deltas above the newest image, newest first.
type segment struct {
	keys  page.Range
	stack []int
}

// maxStack bounds what is looked at of a stack that got far too high under another strategy.
const maxStack = 1024

// shown is a range of keys of a layer that have not moved from it: others answer for those that have.
type shown struct {
	keys  page.Range
	layer int
}

func shownOf(s *compaction.Snapshot) (all []shown) {
	for i := range s.Layers {
		l := &s.Layers[i]
		if len(l.Moved) == 0 {
			all = append(all, shown{l.Keys, i})
			continue
		}
		for _, r := range l.Rest().Ranges() {
			all = append(all, shown{r, i})
		}
	}
	return all
}

// findStacks sweeps over the keys, with the layers that have the present one in the order of a read.
func findStacks(s *compaction.Snapshot, trigger int) (found stacks) {
	all := shownOf(s)
	starts := inOrder(all, func(r *page.Range) page.Key { return r.Start })
	ends := inOrder(all, func(r *page.Range) page.Key { return r.End })
	w := sweep{s: s}
	for len(ends) > 0 {
		at := ends[0].at
		if len(starts) > 0 && starts[0].at.Less(at) {
			at = starts[0].at
		}
		if keys := (page.Range{Start: w.from, End: at}); !keys.Empty() {
			w.visit(keys, trigger, &found)
		}
		w.from = at
		for ; len(ends) > 0 && ends[0].at == at; ends = ends[1:] {
			w.remove(ends[0].layer)
		}
		for ; len(starts) > 0 && starts[0].at == at; starts = starts[1:] {
			w.insert(starts[0].layer)
		}
	}
	return found
}

// border is where a layer begins or ends.
type border struct {
	at    page.Key
	layer int
}

// inOrder gives the borders that of chooses, by key.
func inOrder(all []shown, of func(*page.Range) page.Key) []border {
	out := make([]border, len(all))
	for i := range all {
		out[i] = border{of(&all[i].keys), all[i].layer}
	}
	slices.SortFunc(out, func(a, b border) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.layer, b.layer)) })
	return out
}

// sweep is where findStacks is.
type sweep struct {
	s      *compaction.Snapshot
	from   page.Key
	active []int // newest first; of one LSN images first, as they hold it
}

func (w *sweep) order(a, b int) int {
	x, y := &w.s.Layers[a], &w.s.Layers[b]
	if c := cmp.Compare(y.LSNs.End, x.LSNs.End); c != 0 {
		return c
	}
	if x.Image != y.Image {
		if x.Image {
			return -1
		}
		return 1
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

func (w *sweep) insert(i int) {
	at, _ := slices.BinarySearchFunc(w.active, i, w.order)
	w.active = slices.Insert(w.active, at, i)
}

func (w *sweep) remove(i int) {
	if at, ok := slices.BinarySearchFunc(w.active, i, w.order); ok {
		w.active = slices.Delete(w.active, at, at+1)
	}
}

// visit notes the stack of some keys, if it is high.
func (w *sweep) visit(keys page.Range, trigger int, found *stacks) {
	height := 0
	for height < len(w.active) && height < maxStack && !w.s.Layers[w.active[height]].Image {
		height++
	}
	found.highest = max(found.highest, height)
	if height < trigger {
		return
	}
	stack := w.active[:height]
	if k := len(found.over); k > 0 && found.over[k-1].keys.End == keys.Start && slices.Equal(found.over[k-1].stack, stack) {
		found.over[k-1].keys.End = keys.End
		return
	}
	found.over = append(found.over, segment{keys, slices.Clone(stack)})
}
