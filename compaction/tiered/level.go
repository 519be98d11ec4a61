package tiered

import (
	"fmt"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/stack"
	"github.com/stratapg/strata/page"
)

// level is a span of LSNs at whose borders no delta straddles, with the layers in it.
type level struct {
	lsns   page.LSNRange
	layers []int // indices in the snapshot
}

// order gives the indices of all layers, those that end first before others. The order of two that end together
// depends on nothing but the layers.
func order(layers []compaction.Layer) []int {
	all := make([]int, len(layers))
	for i := range all {
		all[i] = i
	}
	slices.SortFunc(all, func(a, b int) int {
		x, y := &layers[a], &layers[b]
		if x.LSNs.End != y.LSNs.End {
			if x.LSNs.End < y.LSNs.End {
				return -1
			}
			return 1
		}
		return x.ID.Compare(y.ID)
	})
	return all
}

// identify finds the newest level below end whose tiers are at most maxHeight tall: the deltas there, from the top down to the
// first border between tiers under which something taller lies. The given indices are those of order. There is none where
// already the newest delta is taller. A delta that straddles end is an error.
func identify(layers []compaction.Layer, ordered []int, end page.LSN, maxHeight int64) (*level, error) {
	var gathered, below []int // of the level, and of the tier that is being gathered
	top, bottom := end, end   // where the level ends, and that tier
	fits := true
	for n := len(ordered) - 1; n >= 0 && fits; n-- {
		l := &layers[ordered[n]]
		switch {
		case l.Image:
			// What is stacked is counted down to it, also if it lies above the end.
			below = append(below, ordered[n])
			continue
		case l.LSNs.Start >= end:
			continue
		case l.LSNs.End > end:
			return nil, fmt.Errorf("layer %s straddles LSN %s, below which a level is looked for", l.ID, end)
		}
		if l.LSNs.End <= bottom {
			gathered, below = append(gathered, below...), below[:0]
			top, bottom = l.LSNs.End, l.LSNs.Start
		}
		fits = int64(min(l.LSNs.End-l.LSNs.Start, maxLSNs)) <= maxHeight
		bottom = min(bottom, l.LSNs.Start)
		below = append(below, ordered[n])
	}
	if fits {
		gathered = append(gathered, below...)
		top = bottom
	}
	if top == end {
		return nil, nil
	}
	return &level{page.LSNRange{Start: top, End: end}, gathered}, nil
}

// maxLSNs keeps heights within an int64.
const maxLSNs = 1<<62 - 1

// depth is the largest number of deltas that lie over a key above the newest image there. Deltas of one key may be stacked as high as
// they come, so they do not count.
func (v *level) depth(layers []compaction.Layer) int {
	items := make([]stack.Item, 0, len(v.layers))
	for _, i := range v.layers {
		l := &layers[i]
		if l.Image || l.Keys.Start.Next() != l.Keys.End {
			items = append(items, stack.Item{Keys: l.Keys, End: l.LSNs.End, Image: l.Image})
		}
	}
	highest := 0
	stack.Sweep(items, func(s stack.Stretch) { highest = max(highest, s.Height) })
	return highest
}

// deltas are those of the level's layers.
func (v *level) deltas(layers []compaction.Layer) []int {
	var d []int
	for _, i := range v.layers {
		if !layers[i].Image {
			d = append(d, i)
		}
	}
	return d
}
