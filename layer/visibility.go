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
	es := make([]*packed, 0, m.Len())
	for e := range m.entries() {
		es = append(es, e)
	}
	bounds := boundsOf(es, packRange(page.FullRange))
	slices.SortFunc(es, bySight)
	points = slices.Clone(points)
	slices.Sort(points)
	points = slices.Compact(points)
	shadow := newPaint(bounds)
	for _, e := range es {
		if n := len(points); n > 0 && points[n-1] >= e.hi-1 {
			for n > 0 && points[n-1] >= e.hi-1 {
				n--
			}
			points = points[:n]
			shadow.clear()
		}
		switch {
		case e.image():
			if !shadow.cover(e, 0) {
				v.Covered = append(v.Covered, Ref{e})
			}
		case shadow.covered(e) && (len(points) == 0 || points[len(points)-1] < e.lo):
			v.Covered = append(v.Covered, Ref{e})
		}
	}
	if len(points) > 0 {
		shadow.clear() // the oldest one is below all layers
	}
	var left []page.Range
	for i, c := range shadow.colour {
		if c != unpainted {
			left = append(left, page.Range{Start: bounds[i].key(), End: bounds[i+1].key()})
		}
	}
	v.Shadow = page.NewSet(left...)
	return v
}

// bySight orders layers newest first. A delta counts at its last LSN; at one LSN images go before deltas, as
// they hold what those give, and of images the one that begins first, then the wider one.
func bySight(a, b *packed) int {
	switch {
	case a.hi != b.hi:
		return compareLSN(b.hi, a.hi)
	case a.image() != b.image():
		return int(b.size>>63) - int(a.size>>63)
	case a.start() != b.start():
		return a.start().compare(b.start())
	}
	return b.end().compare(a.end())
}
