package compaction

import (
	"fmt"

	"github.com/stratapg/strata/page"
)

// CheckRemoval is the one judge of what may be taken away. It reports the first layer of remove, by index in s, that some
// read could still need once it is gone and the outputs of job j (nil for none) are there.
//
// A layer may go if, for every key of it that has not moved and every read point r that sees it, one of these
// has its facts up to r, or each of them a part:
//   - an image layer that stays or is added and covers the key at an LSN up to r: reads at r ask nothing older, also where
//     the image lacks the key, which says that it does not exist. An image may stand for another of the same LSN;
//   - outputs of j that it was an input of: their rectangles hold its facts, those of a Fold
//     for the reads that the Fold serves.
func CheckRemoval(s *Snapshot, remove []int, add []Output, j *Job) error {
	gone, err := removals(s, remove)
	if err != nil {
		return err
	}
	for _, i := range remove {
		if err := checkLayer(s, i, page.FullRange, gone, add, j); err != nil {
			return err
		}
	}
	return nil
}

// checkLayer judges the removal of what a layer holds of some keys.
func checkLayer(s *Snapshot, i int, within page.Range, gone []bool, add []Output, j *Job) error {
	l := &s.Layers[i]
	left := newNeeds(s, l, within)
	if j != nil && isInput(j, i) && (!l.Image || j.Kind == Fold) {
		left = left.minus(j, add)
	}
	for k := range s.Layers {
		if left.empty() {
			return nil
		}
		if c := &s.Layers[k]; c.Image && !gone[k] && c.Keys.Overlaps(l.Keys) {
			left = left.below(c)
		}
	}
	for k := range add {
		if o := &add[k]; o.Layer.Image && !o.None() {
			left = left.below(&o.Layer)
		}
	}
	if left.empty() {
		return nil
	}
	p := left[0].pieces[0]
	return fmt.Errorf("layer %s may not be removed: reads at %s need what it holds of keys %s at LSNs %s",
		l.ID, left[0].at, p.keys.Ranges()[0], p.lsns)
}

// removals marks the layers named, and reports names that are none or come twice.
func removals(s *Snapshot, remove []int) ([]bool, error) {
	gone := make([]bool, len(s.Layers))
	for _, i := range remove {
		if i < 0 || i >= len(s.Layers) {
			return nil, fmt.Errorf("layer number %d of %d is to be removed", i, len(s.Layers))
		}
		if gone[i] {
			return nil, fmt.Errorf("layer %s is to be removed twice", s.Layers[i].ID)
		}
		gone[i] = true
	}
	return gone, nil
}

func isInput(j *Job, layer int) bool {
	for _, i := range j.Inputs {
		if i == layer {
			return true
		}
	}
	return false
}
