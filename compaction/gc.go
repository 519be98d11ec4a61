package compaction

import (
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// GC plans the removal of every layer that no read needs any more: for each key that has not moved, and each
// read point that sees the layer and has not released the key, an image layer between the layer and the read point hides it. It
// looks at each read point by itself, so an old branch point keeps only what it reads.
func GC(s *Snapshot) Plan {
	var drop []int
	var bytes int64
	for i := range s.Layers {
		if hidden(s, i) {
			drop = append(drop, i)
			bytes += s.Layers[i].Size
		}
	}
	if len(drop) == 0 {
		return Plan{}
	}
	slices.SortFunc(drop, func(a, b int) int { return s.Layers[a].Compare(s.Layers[b].ID) })
	return Plan{Jobs: []Job{{
		Kind: Drop, Obsolete: drop, Priority: PriorityDrop,
		Rect:   Rect{page.FullRange, page.LSNRange{Start: s.Layers[drop[0]].LSNs.Start, End: s.LastRecordLSN + 1}},
		Reason: fmt.Sprintf("no read at %s or above nor at %d retained LSNs needs %d layers of %d bytes", s.Cutoff, len(s.Retain), len(drop), bytes),
	}}}
}

// hidden reports whether image layers hide a layer from every read. Of images that say the same, the first in order stays.
func hidden(s *Snapshot, i int) bool {
	l := &s.Layers[i]
	left := newNeeds(s, l, page.FullRange)
	for k := range s.Layers {
		c := &s.Layers[k]
		if left.empty() {
			break
		}
		if k == i || !c.Image || !c.Keys.Overlaps(l.Keys) {
			continue
		}
		if l.Image && c.LSNs == l.LSNs && c.Compare(l.ID) > 0 {
			continue
		}
		left = left.below(c)
	}
	return left.empty()
}
