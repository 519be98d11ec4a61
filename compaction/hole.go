package compaction

import (
	"slices"

	"github.com/stratapg/strata/page"
)

// ImageStart gives where an image that is wanted from a key on has to begin, so that it leaves no hole: there, or
// farther down, where the image before it ends.
func ImageStart(s *Snapshot, start page.Key) page.Key {
	if hole := holeBefore(s, start).Ranges(); len(hole) > 0 {
		return hole[0].Start
	}
	return start
}

// holeBefore gives the keys that an image from start on would leave out for good: start lies in a stretch without live keys
// where another image, or the key space before any, ended earlier. Nobody would make an image of what lies between, and
// deltas over it could never be collected.
func holeBefore(s *Snapshot, start page.Key) page.Set {
	from := page.MinKey
	live := s.Live.Ranges()
	n, _ := slices.BinarySearchFunc(live, start, func(r page.Range, k page.Key) int { return r.Start.Compare(k) })
	for _, r := range append([]page.Range{SparseKeys}, live[max(n-1, 0):n]...) { // the last of the live ones that begins before
		if r.Start.Less(start) {
			if start.Less(r.End) {
				return page.Set{}
			}
			if from.Less(r.End) {
				from = r.End
			}
		}
	}
	if from == start {
		return page.Set{}
	}
	hole := page.NewSet(page.Range{Start: from, End: start})
	claimed := from == page.MinKey
	for i := range s.Layers {
		if l := &s.Layers[i]; l.Image {
			hole = hole.Subtract(page.NewSet(l.Keys))
			claimed = claimed || !l.Keys.End.Less(from) && l.Keys.End.Less(start)
		}
	}
	if !claimed {
		return page.Set{}
	}
	return hole
}
