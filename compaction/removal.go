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
//     the image lacks the key, which says that it does not exist. An image may stand for another of the same LSN. Keys that have
//     moved from it do not count;
//   - outputs of j, if the layer is an input of it: their rectangles hold its facts, those of a Fold for the reads
//     that the Fold serves, those of a Retile only if it is a delta.
func CheckRemoval(s *Snapshot, remove []int, add []Output, j *Job) error {
	c, err := newJudge(s, remove, add, j)
	if err != nil {
		return err
	}
	var open []int
	for _, i := range remove {
		if !c.inputs[i] || !c.left(i, page.FullRange).empty() {
			open = append(open, i)
		}
	}
	if len(open) > fewLayers {
		open = c.notHidden(open)
	}
	for _, i := range open {
		if err := c.check(i, page.FullRange); err != nil {
			return err
		}
	}
	return nil
}

// fewLayers are so few that it is cheaper to look at all images for each of them than to order the images.
const fewLayers = 8

// judge knows what stays and what is added when some layers go.
type judge struct {
	s      *Snapshot
	points []point
	gone   []bool
	inputs []bool
	add    []Output
	j      *Job
}

func newJudge(s *Snapshot, remove []int, add []Output, j *Job) (*judge, error) {
	for _, i := range remove {
		if i < 0 || i >= len(s.Layers) {
			return nil, fmt.Errorf("layer number %d of %d is to be removed", i, len(s.Layers))
		}
	}
	c := &judge{s: s, points: points(s), gone: marks(s, remove), add: add, j: j}
	seen := make([]bool, len(s.Layers))
	for _, i := range remove {
		if seen[i] {
			return nil, fmt.Errorf("layer %s is to be removed twice", s.Layers[i].ID)
		}
		seen[i] = true
	}
	if j != nil {
		c.inputs = marks(s, j.Inputs)
	} else {
		c.inputs = make([]bool, len(s.Layers))
	}
	return c, nil
}

// left gives what reads still need of a layer but for what images hide.
func (c *judge) left(i int, within page.Range) needs {
	l := &c.s.Layers[i]
	keys := l.Rest().Intersect(within)
	if !c.inputs[i] {
		return newNeeds(c.points, l, keys)
	}
	return leftOf(c.points, l, keys, c.j, c.add)
}

// check judges the removal of what a layer holds of some keys.
func (c *judge) check(i int, within page.Range) error {
	l := &c.s.Layers[i]
	left := c.left(i, within)
	for k := range c.s.Layers {
		if left.empty() {
			return nil
		}
		if image := &c.s.Layers[k]; image.Image && !c.gone[k] && image.Keys.Overlaps(l.Keys) {
			left = left.below(image)
		}
	}
	for k := range c.add {
		if o := &c.add[k]; o.Layer.Image && !o.None() {
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

// notHidden gives those of some layers that the images which stay or come do not hide altogether.
func (c *judge) notHidden(layers []int) []int {
	var images []*Layer
	for i := range c.s.Layers {
		if l := &c.s.Layers[i]; l.Image && !c.gone[i] {
			images = append(images, l)
		}
	}
	for i := range c.add {
		if o := &c.add[i]; o.Layer.Image && !o.None() {
			images = append(images, &o.Layer)
		}
	}
	hidden := hiddenBy(c.points, images, c.s.Layers, layers)
	var open []int
	for n, i := range layers {
		if !hidden[n] {
			open = append(open, i)
		}
	}
	return open
}
