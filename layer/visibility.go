package layer

import (
	"slices"

	"github.com/stratapg/strata/page"
)

// Visibility says which layers no read at a few LSNs can need.
type Visibility struct {
	// Covered are the layers that images hide from every read point, newest first; all others are visible.
	Covered []Ref
	// Shadow is the keys that images below the oldest read point cover: a child that branches there reads
	// nothing else of the ancestors of this timeline.
	Shadow page.Set
}

// Visibility computes what reads at the given LSNs, each inclusive, can see: a timeline's last LSN and its
// branch points. An image is covered if newer ones below the same read point hold all its keys; a delta, if
// images above it do and no read point lies in it. It is a hint for eviction and for placing files, never
// for deleting them: reads between the points may need what is covered here.
func (m *Map) Visibility(points []page.LSN) (v Visibility) {
	w := newView(m.Len())
	for e := range m.entries() {
		w.add(e)
	}
	w.place(packRange(page.FullRange))
	points = slices.Clone(points)
	slices.Sort(points)
	points = slices.Compact(points)
	shadow := newPaint(len(w.bounds) - 1)
	for _, s := range w.sights {
		if n := len(points); n > 0 && points[n-1] >= s.hi-1 {
			for n > 0 && points[n-1] >= s.hi-1 {
				n--
			}
			points = points[:n]
			shadow.clear()
		}
		switch {
		case s.class == 0:
			if !shadow.cover(s.reach, 0) {
				v.Covered = append(v.Covered, Ref{w.es[s.at]})
			}
		case shadow.covered(s.reach) && (len(points) == 0 || points[len(points)-1] < w.es[s.at].lo):
			v.Covered = append(v.Covered, Ref{w.es[s.at]})
		}
	}
	if len(points) > 0 {
		shadow.clear() // the oldest one is below all layers
	}
	var left []page.Range
	for i, c := range shadow.colour {
		switch start := w.bounds[i].key(); {
		case c == unpainted:
		case len(left) > 0 && left[len(left)-1].End == start:
			left[len(left)-1].End = w.bounds[i+1].key()
		default:
			left = append(left, page.Range{Start: start, End: w.bounds[i+1].key()})
		}
	}
	v.Shadow = page.NewSet(left...)
	return v
}
