package layer

import "github.com/stratapg/strata/page"

// Ref is a layer of a map, without a copy of its description. The zero Ref is none.
type Ref struct{ e *packed }

// None reports whether there is no layer.
func (r Ref) None() bool { return r.e == nil }

// Desc describes the layer, which must not be none.
func (r Ref) Desc() Desc { return r.e.desc() }

// LSNs gives those of the layer, or an empty range for none.
func (r Ref) LSNs() page.LSNRange {
	if r.e == nil {
		return page.LSNRange{}
	}
	return r.e.lsns()
}

// Run is a stretch of keys that the same layers cover.
type Run struct {
	Keys page.Range
	// Image is the newest one, Delta the one that reaches highest; each may be none.
	Image, Delta Ref
}

// ImageCoverage divides keys by the newest image below the exclusive LSN end. It costs a search for each
// run, however many older images there are. Delta is left out.
func (m *Map) ImageCoverage(keys page.Range, end page.LSN) []Run {
	covers := m.cover(packRanges(page.NewSet(keys)), end)
	out := make([]Run, len(covers))
	for i := range covers {
		out[i] = Run{Keys: covers[i].unpack(), Image: Ref{covers[i].image}}
	}
	return out
}

// CoveredByImages reports whether every key of keys lies in an image of an LSN in lsns: what is older than
// lsns is then needed by no read at its end or above.
func (m *Map) CoveredByImages(keys page.Range, lsns page.LSNRange) bool {
	for k, end := packKey(keys.Start), packKey(keys.End); k.less(end); {
		e := m.images.newest(&k, lsns.End, 0)
		if e == nil || e.lo < lsns.Start {
			return false
		}
		// Newer images that begin on the way are within lsns too.
		k = e.end()
	}
	return true
}

// Coverage divides keys by the newest image and the highest delta below the exclusive LSN end. The runs are
// in order and leave nothing out. It looks at every layer that overlaps keys below end: for one key, Search
// is the better way.
func (m *Map) Coverage(keys page.Range, end page.LSN) []Run {
	if keys.Empty() {
		return nil
	}
	ranges := packRanges(page.NewSet(keys))
	v := newView(0)
	add := func(e *packed) bool {
		v.add(e)
		return true
	}
	m.images.overlapping(ranges, 0, end, add)
	m.deltas.overlapping(ranges, 0, end, add)
	m.l0.s.overlapping(ranges, 0, end, add)
	v.place(ranges[0])
	images, deltas := newPaint(len(v.bounds)-1), newPaint(len(v.bounds)-1)
	for i, s := range v.sights {
		if s.class == 0 {
			images.cover(s.reach, int32(i))
		} else {
			deltas.cover(s.reach, int32(i))
		}
	}
	ref := func(i int32) Ref {
		if i < 0 {
			return Ref{}
		}
		return Ref{v.es[v.sights[i].at]}
	}
	out := make([]Run, 0, len(images.colour))
	for i := range images.colour {
		if i > 0 && images.colour[i] == images.colour[i-1] && deltas.colour[i] == deltas.colour[i-1] {
			out[len(out)-1].Keys.End = v.bounds[i+1].key()
			continue
		}
		out = append(out, Run{page.Range{Start: v.bounds[i].key(), End: v.bounds[i+1].key()}, ref(images.colour[i]), ref(deltas.colour[i])})
	}
	return out
}
