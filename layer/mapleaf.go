package layer

import (
	"math"

	"github.com/stratapg/strata/page"
)

// leaf is a few layers in the order of comparePacked. What a search looks at lies side by side: for each
// layer its start LSN, and the keys it covers of those that begin with the leaf's prefix. The prefix is 80
// bits, a database and a part of its relations, so that most searches in a leaf are for keys that have it.
type leaf struct {
	ents  []packed
	words []uint64 // start LSNs; then for each layer an extent
	high  uint64   // the prefix
	mid   uint16
	loose bool // start LSNs do not ascend
}

// tinyLeaf is the number of layers up to which a leaf has no words, as a look at each of them is as quick.
const tinyLeaf = 2

// leap is how many layers a search passes over at a time that begin too late. Where reads that follow each
// other end at LSNs that do, as in BenchmarkLayerMapSearch, the processor guesses these steps: bisecting without
// branches instead made a search there a third slower.
const leap = 8

// leafWords is the number of words that a leaf has for each layer; the extents take all but one.
const leafWords = 4

// newLeaf makes a leaf of es, which it keeps.
func newLeaf(es []packed) leaf {
	l := leaf{ents: es}
	if len(es) > tinyLeaf {
		l.setPrefix()
		l.setWords()
	}
	return l
}

// newLeafFor makes a leaf of es, which it keeps, for searches for keys like k.
func newLeafFor(es []packed, k mapKey) leaf {
	l := leaf{ents: es, high: k.a, mid: uint16(k.b >> 48)}
	if len(es) > 0 {
		l.setWords()
	}
	return l
}

func (l *leaf) setWords() {
	n := len(l.ents)
	l.words = make([]uint64, leafWords*n)
	los, extents := l.words[:n], l.words[n:]
	for i := range l.ents {
		e := &l.ents[i]
		los[i] = uint64(e.lo)
		x := (*extent)(extents[(leafWords-1)*i:])
		x[extentEnd] = uint64(e.hi)
		first, last := l.within(e.start()), l.within(e.end().prev())
		if first.side > 0 || last.side < 0 {
			x[extentFirst] = math.MaxUint64 // none, as the fast search leaves that key out
		} else {
			x[extentFirst], x[extentSpan] = first.rest, last.rest-first.rest
		}
		l.loose = l.loose || i > 0 && e.lo < l.ents[i-1].lo
	}
}

// extent is what a search asks of a layer that does not begin too late, side by side: its end LSN, the rest of
// its first key, and how far its last is from that.
type extent [leafWords - 1]uint64

const (
	extentEnd = iota
	extentFirst
	extentSpan
)

// setPrefix takes the prefix that more than half of all bounds have, if there is one, else that of some.
func (l *leaf) setPrefix() {
	votes := 0
	for i := range l.ents {
		for _, k := range [...]mapKey{l.ents[i].start(), l.ents[i].end().prev()} {
			switch mid := uint16(k.b >> 48); {
			case votes == 0:
				l.high, l.mid, votes = k.a, mid, 1
			case k.a == l.high && mid == l.mid:
				votes++
			default:
				votes--
			}
		}
	}
}

// bound is a key as those with a leaf's prefix see it: among them, or below (-1) or above all of them.
type bound struct {
	rest uint64
	side int
}

func (l *leaf) within(k mapKey) bound {
	switch mid := uint16(k.b >> 48); {
	case k.a < l.high || k.a == l.high && mid < l.mid:
		return bound{0, -1}
	case k.a > l.high || mid > l.mid:
		return bound{math.MaxUint64, 1}
	}
	return bound{k.b<<16 | uint64(k.c), 0}
}

// newest gives the layer with the highest end, above that LSN, of those that cover k and start below end.
func (l *leaf) newest(k *mapKey, end, above page.LSN) *packed {
	n := len(l.ents)
	w := k.b<<16 | uint64(k.c)
	if k.a != l.high || uint16(k.b>>48) != l.mid || w == math.MaxUint64 || len(l.words) < leafWords*n {
		return l.newestOfAny(k, end, above)
	}
	los, extents := l.words[:n], l.words[n:leafWords*n]
	for i := l.fromBelow(los, end); i >= 0; i-- {
		x := (*extent)(extents[(leafWords-1)*i:])
		if page.LSN(x[extentEnd]) <= above {
			return nil
		}
		if w-x[extentFirst] <= x[extentSpan] && los[i] < uint64(end) {
			return &l.ents[i]
		}
	}
	return nil
}

// fromBelow gives the index of the last that can start below end of those with the start LSNs los.
func (l *leaf) fromBelow(los []uint64, end page.LSN) int {
	i := len(los) - 1
	if l.loose {
		return i
	}
	for i >= leap && page.LSN(los[i-leap]) >= end {
		i -= leap
	}
	for i >= 0 && page.LSN(los[i]) >= end {
		i--
	}
	return i
}

// newestOfAny is newest for any key and order.
func (l *leaf) newestOfAny(k *mapKey, end, above page.LSN) *packed {
	for i := len(l.ents) - 1; i >= 0; i-- {
		e := &l.ents[i]
		if e.hi <= above {
			return nil
		}
		if e.lo < end && e.covers(k) {
			return e
		}
	}
	return nil
}

// find gives the layer of e's identity, or nil.
func (l *leaf) find(e *packed) *packed {
	for i := range l.ents {
		if comparePacked(&l.ents[i], e) == 0 {
			return &l.ents[i]
		}
	}
	return nil
}

// mergePacked gives the layers of both, which share none.
func mergePacked(a, b []packed) []packed {
	out := make([]packed, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if comparePacked(&a[0], &b[0]) < 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// subtractPacked gives the layers of all that are not in es.
func subtractPacked(all, es []packed) []packed {
	out := make([]packed, 0, max(0, len(all)-len(es)))
	for i := range all {
		if len(es) > 0 && comparePacked(&all[i], &es[0]) == 0 {
			es = es[1:]
		} else {
			out = append(out, all[i])
		}
	}
	return out
}
