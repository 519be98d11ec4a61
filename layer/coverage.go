package layer

import (
	"slices"

	"github.com/stratapg/strata/page"
)

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
		e := m.images.newest(&k, lsns.End, nil)
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
	var es []*packed
	add := func(e *packed) bool {
		es = append(es, e)
		return true
	}
	m.images.overlapping(ranges, 0, end, add)
	m.deltas.overlapping(ranges, 0, end, add)
	m.l0.s.overlapping(ranges, 0, end, add)
	slices.SortFunc(es, func(a, b *packed) int { return compareLSN(b.hi, a.hi) })
	bounds := boundsOf(es, ranges[0])
	images, deltas := newPaint(bounds), newPaint(bounds)
	for i, e := range es {
		if e.image() {
			images.cover(e, int32(i))
		} else {
			deltas.cover(e, int32(i))
		}
	}
	ref := func(i int32) Ref {
		if i < 0 {
			return Ref{}
		}
		return Ref{es[i]}
	}
	var out []Run
	for i := range images.colour {
		if i > 0 && images.colour[i] == images.colour[i-1] && deltas.colour[i] == deltas.colour[i-1] {
			out[len(out)-1].Keys.End = bounds[i+1].key()
			continue
		}
		out = append(out, Run{page.Range{Start: bounds[i].key(), End: bounds[i+1].key()}, ref(images.colour[i]), ref(deltas.colour[i])})
	}
	return out
}

// boundsOf gives, in order, the keys within a range at which one of the layers begins or ends, and those of
// the range.
func boundsOf(es []*packed, within keyRange) []mapKey {
	out := make([]mapKey, 2, 2+len(es))
	out[0], out[1] = within.start, within.end
	var last *packed
	for _, e := range es {
		// Layers of the same keys tend to follow each other.
		if last == nil || e.start() != last.start() {
			out = append(out, e.start())
		}
		if last == nil || e.end() != last.end() {
			out = append(out, e.end())
		}
		last = e
	}
	out = slices.DeleteFunc(out, func(k mapKey) bool { return k.less(within.start) || within.end.less(k) })
	slices.SortFunc(out, mapKey.compare)
	return slices.Compact(out)
}

// paint colours the stretches between bounds, each once.
type paint struct {
	bounds []mapKey
	colour []int32 // unpainted for none
	next   []int32 // for a painted stretch, one behind it up to which all are painted
	done   []int32 // the painted ones
	last   keyRange
	at     [2]int32 // where last is among the bounds
}

const unpainted = -1

func newPaint(bounds []mapKey) *paint {
	p := &paint{bounds: bounds, colour: make([]int32, len(bounds)-1), next: make([]int32, len(bounds))}
	for i := range p.colour {
		p.colour[i], p.next[i] = unpainted, int32(i)
	}
	p.next[len(p.colour)] = int32(len(p.colour))
	return p
}

// clear takes all colour away.
func (p *paint) clear() {
	for _, i := range p.done {
		p.colour[i], p.next[i] = unpainted, i
	}
	p.done = p.done[:0]
}

// stretches gives those that a layer covers.
func (p *paint) stretches(e *packed) (from, to int32) {
	if r := (keyRange{e.start(), e.end()}); r != p.last {
		// A bound that is not there lies outside, before the first or behind the last.
		i, _ := slices.BinarySearchFunc(p.bounds, r.start, mapKey.compare)
		j, _ := slices.BinarySearchFunc(p.bounds, r.end, mapKey.compare)
		p.last, p.at = r, [2]int32{int32(i), int32(min(j, len(p.bounds)-1))}
	}
	return p.at[0], p.at[1]
}

// free gives the first unpainted stretch from i on, or the number of stretches.
func (p *paint) free(i int32) int32 {
	for p.next[i] != i {
		p.next[i] = p.next[p.next[i]]
		i = p.next[i]
	}
	return i
}

// cover paints what is unpainted of a layer's keys, and reports whether there was any.
func (p *paint) cover(e *packed, colour int32) bool {
	from, to := p.stretches(e)
	before := len(p.done)
	for i := p.free(from); i < to; i = p.free(i) {
		p.colour[i], p.next[i] = colour, i+1
		p.done = append(p.done, i)
	}
	return len(p.done) > before
}

// covered reports whether all keys of a layer are painted.
func (p *paint) covered(e *packed) bool {
	from, to := p.stretches(e)
	return p.free(from) >= to
}
