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

// findStacks sweeps over the keys, with the layers that have the present one in the order of a read.
func findStacks(s *compaction.Snapshot, trigger int) (found stacks) {
	n := len(s.Layers)
	starts, ends := make([]int, n), make([]int, n)
	for i := range starts {
		starts[i], ends[i] = i, i
	}
	slices.SortFunc(starts, func(a, b int) int { return s.Layers[a].Keys.Start.Compare(s.Layers[b].Keys.Start) })
	slices.SortFunc(ends, func(a, b int) int { return s.Layers[a].Keys.End.Compare(s.Layers[b].Keys.End) })
	w := sweep{s: s}
	for i, e := 0, 0; e < n; {
		at := s.Layers[ends[e]].Keys.End
		if i < n && s.Layers[starts[i]].Keys.Start.Less(at) {
			at = s.Layers[starts[i]].Keys.Start
		}
		if keys := (page.Range{Start: w.from, End: at}); !keys.Empty() {
			w.visit(keys, trigger, &found)
		}
		w.from = at
		for ; e < n && s.Layers[ends[e]].Keys.End == at; e++ {
			w.remove(ends[e])
		}
		for ; i < n && s.Layers[starts[i]].Keys.Start == at; i++ {
			w.insert(starts[i])
		}
	}
	return found
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
