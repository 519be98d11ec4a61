package legacy

import (
	"math"
	"sort"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/stack"
	"github.com/stratapg/strata/page"
)

// minHoleRank is the rank from which on a hole is worth a cut.
const minHoleRank = 3

// holes ranks stretches of keys without entries. A delta that reaches over one counts among those stacked above the images
// there although it has nothing for them, so images would be made too early: the more of them, the better it is to end the delta
// before the hole.
type holes struct {
	// borders are the keys at which the newest image is another, or there begins or ends to be one.
	borders []page.Key
	width   uint32 // the least number of keys that make a hole
	most    int    // how many may be cut at
}

// holesIn prepares for a run of so many L0s: as many holes may be cut at.
func holesIn(s *compaction.Snapshot, target int64, run int) holes {
	var images []stack.Item
	for i := range s.Layers {
		if l := &s.Layers[i]; l.Image {
			images = append(images, stack.Item{Keys: l.Keys, End: l.LSNs.End, Image: true})
		}
	}
	h := holes{width: uint32(min(max(target/pageBytes, 1), math.MaxUint32)), most: run}
	var end page.Key
	newest := -1
	stack.Sweep(images, func(t stack.Stretch) {
		if newest >= 0 && end != t.Keys.Start {
			h.borders = append(h.borders, end)
		}
		if newest < 0 || end != t.Keys.Start || newest != t.Image {
			h.borders = append(h.borders, t.Keys.Start)
		}
		newest, end = t.Image, t.Keys.End
	})
	if newest >= 0 {
		h.borders = append(h.borders, end)
	}
	return h
}

// rank gives the number of stretches with one newest image, or none, that lie between two neighbouring keys; 0 if
// that is no hole worth a cut.
func (h *holes) rank(from, to page.Key) int {
	if len(h.borders) == 0 || to.Less(from.Add(h.width)) || sparseBefore(from) {
		return 0
	}
	first := sort.Search(len(h.borders), func(i int) bool { return from.Less(h.borders[i]) })
	behind := sort.Search(len(h.borders), func(i int) bool { return !h.borders[i].Less(to) })
	if n := behind - first + 1; n >= minHoleRank {
		return n
	}
	return 0
}

// sparseBefore reports whether the key before k is one of metadata: these lie far apart by nature.
func sparseBefore(k page.Key) bool {
	return compaction.SparseKeys.Start.Less(k) && !compaction.SparseKeys.End.Less(k)
}
