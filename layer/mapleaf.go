package layer

import "github.com/stratapg/strata/page"

// leaf is a few layers in the order of comparePacked. What a search looks at lies side by side: for each
// layer the start LSN, and of its keys 64 bits from the first one in which any two in the leaf differ.
type leaf struct {
	ents  []packed
	words []uint64 // start LSNs; then first keys; then last keys less the first ones
	from  uint8    // the first bit of the words of keys
	exact bool     // those words hold all that differs
	loose bool     // start LSNs do not ascend
}

// newLeaf makes a leaf of es, which it keeps.
func newLeaf(es []packed) leaf {
	n := len(es)
	if n == 0 {
		return leaf{}
	}
	box := boxOf(es)
	from := min(box.split(), keyBits-1)
	l := leaf{ents: es, words: make([]uint64, 3*n), from: uint8(from), exact: from+64 >= keyBits}
	for i := range es {
		l.words[i] = uint64(es[i].lo)
		first, last := es[i].start(), es[i].end().prev()
		l.words[n+i] = first.window(from)
		l.words[2*n+i] = last.window(from) - l.words[n+i]
		l.loose = l.loose || i > 0 && es[i].lo < es[i-1].lo
	}
	return l
}

// newest gives the layer with the highest end of those that cover k and start below end, if it is higher
// than that of best. k lies in the box around the leaf, unless the leaf is not exact.
func (l *leaf) newest(k *mapKey, end page.LSN, best *packed) *packed {
	n := len(l.ents)
	if len(l.words) < 3*n {
		return best
	}
	los, firsts, spans := l.words[:n], l.words[n:2*n], l.words[2*n:3*n]
	w := k.window(uint(l.from))
	i := n - 1
	if !l.loose {
		for i >= 0 && page.LSN(los[i]) >= end {
			i--
		}
	}
	for ; i >= 0; i-- {
		if w-firsts[i] > spans[i] || l.loose && page.LSN(los[i]) >= end {
			continue
		}
		e := &l.ents[i]
		if best != nil && e.hi <= best.hi {
			return best
		}
		if l.exact || e.covers(k) {
			return e
		}
	}
	return best
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
