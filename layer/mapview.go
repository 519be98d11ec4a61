package layer

import (
	"math/bits"

	"github.com/stratapg/strata/page"
)

// view is layers as a reader from above sees them: newest first, each over the stretches of keys, between the
// bounds of all layers, that it covers.
type view struct {
	es     []*packed // as they were added
	same   []int32   // for each, the number of its reach
	sights []sight
	bounds []mapKey
	spans  []reach
}

// reach is the parts [from, to) between bounds.
type reach struct{ from, to int32 }

// sight is a layer in its turn.
type sight struct {
	hi    page.LSN
	class uint32 // 0 for an image, 1 for a delta
	at    int32  // among the layers added
	reach
}

func newView(layers int) *view {
	return &view{es: make([]*packed, 0, layers), same: make([]int32, 0, layers)}
}

// add adds a layer. Layers of the same keys that follow each other share a reach.
func (v *view) add(e *packed) {
	n := len(v.es)
	if n == 0 || v.es[n-1].start() != e.start() || v.es[n-1].end() != e.end() {
		v.spans = append(v.spans, reach{})
	}
	v.es, v.same = append(v.es, e), append(v.same, int32(len(v.spans)-1))
}

// edge is an end of a span.
type edge struct {
	key mapKey
	end int32 // twice the span's number, and one more for its end
}

// place computes the spans, cut to a range of keys, and orders the layers.
func (v *view) place(within keyRange) {
	edges := make([]edge, 0, 2*len(v.spans)+2)
	edges = append(edges, edge{within.start, -1}, edge{within.end, -1})
	last := int32(-1)
	for i, e := range v.es {
		if v.same[i] != last {
			last = v.same[i]
			r := within.clip(&e.rect)
			edges = append(edges, edge{r.start, 2 * last}, edge{r.end, 2*last + 1})
		}
	}
	for _, at := range orderOf(edges) {
		e := &edges[at.at]
		if n := len(v.bounds); n == 0 || v.bounds[n-1] != e.key {
			v.bounds = append(v.bounds, e.key)
		}
		bound := int32(len(v.bounds) - 1)
		switch end := e.end; {
		case end < 0:
		case end&1 == 0:
			v.spans[end/2].from = bound
		default:
			v.spans[end/2].to = bound
		}
	}
	sights := make([]sight, len(v.es))
	for i, e := range v.es {
		sights[i] = sight{e.hi, 1 - uint32(e.size>>63), int32(i), v.spans[v.same[i]]}
	}
	v.sights = ordered(sights, len(v.bounds))
}

// orderOf orders edges by key.
func orderOf(edges []edge) []ranked {
	r := newRanking(len(edges))
	for i := range edges {
		r.order[i].word = uint64(edges[i].key.c)
	}
	r.sort()
	for i := range r.order {
		r.order[i].word = edges[r.order[i].at].key.b
	}
	r.sort()
	for i := range r.order {
		r.order[i].word = edges[r.order[i].at].key.a
	}
	r.sort()
	return r.order
}

// ordered orders layers newest first. A delta counts at its last LSN; at one LSN images go before deltas, as
// they hold what those give, and of images the one that begins first, then the wider one.
func ordered(sights []sight, bounds int) []sight {
	width := bits.Len(uint(bounds))
	r := newRanking(len(sights))
	for i := range sights {
		s := &sights[i]
		r.order[i].word = (uint64(s.class)<<width|uint64(s.from))<<width | uint64(bounds-int(s.to))
	}
	r.sort()
	for i := range r.order {
		r.order[i].word = ^uint64(sights[r.order[i].at].hi)
	}
	r.sort()
	out := make([]sight, len(sights))
	for i := range out {
		out[i] = sights[r.order[i].at]
	}
	return out
}

// paint colours stretches, each once.
type paint struct {
	colour []int32 // unpainted for none
	next   []int32 // for a painted stretch, one behind it up to which all are painted
	done   []int32 // the painted ones
}

const unpainted = -1

func newPaint(stretches int) *paint {
	p := &paint{colour: make([]int32, stretches), next: make([]int32, stretches+1)}
	for i := range p.colour {
		p.colour[i], p.next[i] = unpainted, int32(i)
	}
	p.next[stretches] = int32(stretches)
	return p
}

// clear takes all colour away.
func (p *paint) clear() {
	for _, i := range p.done {
		p.colour[i], p.next[i] = unpainted, i
	}
	p.done = p.done[:0]
}

// free gives the first unpainted stretch from i on, or the number of stretches.
func (p *paint) free(i int32) int32 {
	for p.next[i] != i {
		p.next[i] = p.next[p.next[i]]
		i = p.next[i]
	}
	return i
}

// cover paints what is unpainted of a span, and reports whether there was any.
func (p *paint) cover(s reach, colour int32) bool {
	before := len(p.done)
	for i := p.free(s.from); i < s.to; i = p.free(i) {
		p.colour[i], p.next[i] = colour, i+1
		p.done = append(p.done, i)
	}
	return len(p.done) > before
}

// covered reports whether all of a span is painted.
func (p *paint) covered(s reach) bool { return p.free(s.from) >= s.to }
