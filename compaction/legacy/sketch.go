package legacy

import (
	"cmp"
	"slices"
)

// sketch holds neighbouring grains in memory that does not grow with the number of keys: when there are many, small
// ones that no hole parts become one, so that cuts fall a little earlier than they would.
type sketch struct {
	all  []grain
	most int   // grains at which small ones are joined
	unit int64 // what joined ones come to at most
	top  int64 // of unit
}

const (
	sketchGrains = 8192
	// finest and coarsest are the parts of an output's size that joined grains come to.
	finest, coarsest = 1024, 16
)

func newSketch(target int64) sketch {
	return sketch{most: sketchGrains, unit: max(target/finest, 1), top: max(target/coarsest, 1)}
}

func (s *sketch) empty() bool { return len(s.all) == 0 }

func (s *sketch) add(g grain) {
	if len(s.all) >= s.most {
		s.join()
	}
	s.all = append(s.all, g)
}

// join makes room. Where grains of the coarsest unit leave none there are that many outputs to come, and the room grows
// with these.
func (s *sketch) join() {
	for {
		out := s.all[:1]
		for _, g := range s.all[1:] {
			last := &out[len(out)-1]
			if g.hole > 0 || last.size+g.size > s.unit { // so keys that are cut stay as they are: they are larger
				out = append(out, g)
				continue
			}
			last.keys.End = g.keys.End
			last.size += g.size
		}
		s.all = out
		switch {
		case len(s.all) <= s.most/2:
			return
		case s.unit < s.top:
			s.unit = min(2*s.unit, s.top)
		default:
			s.most *= 2
			return
		}
	}
}

// best marks the grains that follow the n holes of the highest rank; of equal ones the first.
func (s *sketch) best(n int) []bool {
	var holes []int
	for i := range s.all {
		if s.all[i].hole > 0 {
			holes = append(holes, i)
		}
	}
	slices.SortStableFunc(holes, func(a, b int) int { return cmp.Compare(s.all[b].hole, s.all[a].hole) })
	marked := make([]bool, len(s.all))
	for _, i := range holes[:min(n, len(holes))] {
		marked[i] = true
	}
	return marked
}
