package layer

import (
	"slices"

	"github.com/stratapg/strata/page"
)

// CountDeltas gives the height of the tallest stack of deltas over any key of keys: of those that have LSNs
// in lsns above the newest image of the key below the end of lsns. A read of such a key at that end may have
// to ask as many. L0s, which every key has, are not counted: L0().Height() tells them.
func (m *Map) CountDeltas(keys page.Range, lsns page.LSNRange) int {
	ranges := packRanges(page.NewSet(keys))
	covers := m.cover(ranges, lsns.End)
	low := lsns.End
	for i := range covers {
		low = min(low, max(lsns.Start, covers[i].floor()))
	}
	var steps []step
	m.deltas.overlapping(ranges, low, lsns.End, func(e *packed) bool {
		i, _ := slices.BinarySearchFunc(covers, e.start(), func(c cover, k mapKey) int {
			if k.less(c.end) {
				return 1
			}
			return -1
		})
		for ; i < len(covers) && covers[i].start.less(e.end()); i++ {
			if r := covers[i].clip(&e.rect); e.hi > max(lsns.Start, covers[i].floor()) && !r.empty() {
				steps = append(steps, step{r.start, 1}, step{r.end, -1})
			}
		}
		return true
	})
	return tallest(steps)
}

// step is a key at which a stack grows or shrinks.
type step struct {
	key mapKey
	by  int
}

func tallest(steps []step) (top int) {
	slices.SortFunc(steps, func(a, b step) int {
		if c := a.key.compare(b.key); c != 0 {
			return c
		}
		return a.by - b.by // what ends at a key is not upon what begins there
	})
	height := 0
	for _, s := range steps {
		height += s.by
		top = max(top, height)
	}
	return top
}

// MapStats are figures of one version of a map.
type MapStats struct {
	Images, Deltas, L0 int
	// Bytes is the size of all files, as far as known.
	Bytes int64
	// MaxDeltas is the height of the tallest stack of deltas, L0s aside, above the newest image of a key.
	MaxDeltas int
}

// Stats computes the figures, which takes a look at every layer.
func (m *Map) Stats() MapStats {
	s := MapStats{Images: m.images.len(), Deltas: m.deltas.len(), L0: m.l0.Height()}
	for e := range m.entries() {
		s.Bytes += int64(e.size & maxPackedSize)
	}
	s.MaxDeltas = m.CountDeltas(page.FullRange, page.LSNRange{End: page.MaxLSN})
	return s
}
