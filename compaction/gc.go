package compaction

import (
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// GC plans the removal of every layer that no read needs any more: for each key that has not moved, and each
// read point that sees the layer and has not released the key, an image layer between the layer and the read point hides it.
// It looks at each read point by itself, so that an old branch point keeps only what it reads. A layer that reaches above the
// cutoff stays even where an image at the LSN of its only record hides it: all that is newer than the cutoff is kept as it
// was logged. It takes O(n log n).
func GC(s *Snapshot) Plan {
	var images []*Layer
	all := make([]int, len(s.Layers))
	for i := range s.Layers {
		all[i] = i
		if l := &s.Layers[i]; l.Image {
			images = append(images, l)
		}
	}
	hidden := hiddenBy(points(s), images, s.Layers, all)
	drop := slices.DeleteFunc(all, func(i int) bool { return !hidden[i] || s.Layers[i].LSNs.End > s.Cutoff+1 })
	if len(drop) == 0 {
		return Plan{}
	}
	slices.SortFunc(drop, func(a, b int) int { return s.Layers[a].Compare(s.Layers[b].ID) })
	return Plan{Jobs: []Job{dropJob(s, drop)}}
}

// dropJob removes layers, the oldest first.
func dropJob(s *Snapshot, drop []int) Job {
	lsns := s.Layers[drop[0]].LSNs
	var bytes int64
	for _, i := range drop {
		lsns.End = max(lsns.End, s.Layers[i].LSNs.End)
		bytes += s.Layers[i].Size
	}
	return Job{
		Kind: Drop, Obsolete: drop, Priority: PriorityDrop, Rect: Rect{page.FullRange, lsns},
		Reason: fmt.Sprintf("no read from %s on, nor at one of %d retained LSNs, needs these %d layers of %d bytes",
			s.Cutoff, len(s.Retain), len(drop), bytes),
	}
}
