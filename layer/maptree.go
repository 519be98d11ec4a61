package layer

import (
	"math/bits"
	"slices"

	"github.com/stratapg/strata/page"
)

// mapNode is a node of a persistent interval trie over the digits of keys, which are 6 bits of a field, or the
// 2 highest, so that the lowest bits of every field are a digit: keys differ most in those of a few fields. The layers of a node have all
// digits before its own in common. One whose first and last key differ in that digit lies in the cell of the
// first bit that differs and the bits of the digit before that: all layers of a cell hold the key at which
// the halves meet, so that in a healthy timeline they lie one upon another, and the cell is a stack. Others
// are in the kid of their digit. A few layers make a bucket, which is not divided; and a node has one for a
// few that do not have its digits, which spares searches the steps through nodes that have little else.
//
// Each layer lies in one place. Nothing is ever rebalanced: an insertion or removal copies the path to that
// place. A path has at most one node for each digit of a key; with keys as they are, it grows as the
// logarithm of the number of layers.
type mapNode struct {
	at       uint8    // the first bit of the node's digit; bucketAt for a bucket
	outEnd   page.LSN // the highest end of the layers in the bucket of a divided node; 0 if it has none
	hasCells uint64
	hasKids  uint64
	kids     []mapNode // those of which hasKids has the digit's bit
	cells    []stack   // likewise, by the numbers of cells
	bucket   leaf
	box      rect // around all layers of the node
}

const (
	digitBits = 6
	digits    = 1 << digitBits

	bucketAt = 255
	// maxBucket and maxOutside bound what is searched layer by layer: those of a bucket, and those that a
	// divided node keeps though they do not have its digits. On the real maps fewer make a search slower, as
	// it takes more nodes; more make it no faster, and a change copies them.
	maxBucket  = 32
	maxOutside = 64
)

// onPath gives the cells that hold layers which may cover a key of a digit, as bits: cell 1 is the one that
// is divided by the first bit, cells 2 and 3 by the second, and so on.
var onPath = func() (out [digits]uint64) {
	for d := range out {
		for n := range digitBits {
			out[d] |= 1 << cellOf(uint64(d), n)
		}
	}
	return out
}()

// cellOf gives the number of the cell for layers of which bit n of the digit is the first that differs.
func cellOf(digit uint64, n int) int { return 1<<n | int(digit>>(digitBits-n)) }

// fieldEnds are the bits at which the fields of a key end.
var fieldEnds = [...]int{8, 40, 72, 104, 112, keyBits}

// digitStart gives for a bit of a key the first of its digit, and digitMask for the first bit of a digit those
// of digitBits that belong to it.
var digitStart, digitMask = func() (start, mask [256]uint8) {
	field := 0
	for _, end := range fieldEnds {
		for bit := field; bit < end; bit++ {
			from := max(field, end-(end-bit+digitBits-1)/digitBits*digitBits)
			start[bit] = uint8(from)
			mask[from] |= 1 << (digitBits - 1 - (bit - from))
		}
		field = end
	}
	start[keyBits] = keyBits
	return start, mask
}()

// digit gives the bits of k from bit at on, which begins a digit: always digitBits, zeros in place of the
// lowest if the digit is shorter.
func (k *mapKey) digit(at uint8) uint64 {
	return k.window(uint(at)) >> (64 - digitBits) & uint64(digitMask[at])
}

// digitOf gives the first bit of the digit in which a box is divided. Layers of one single key have one
// behind the last.
func digitOf(split uint) uint8 { return digitStart[uint8(split)] }

// places is the number of cells and kids of a node. Cells are numbered from 1.
const places = 2 * digits

// place gives where in a node a layer belongs: the number of its cell, or of its kid above those.
func (e *packed) place(at uint8) int {
	split := digitOf(e.split())
	start := e.start()
	switch {
	case at == keyBits:
		return 1
	case split == at:
		return cellOf(start.digit(at), int(e.split()-uint(at)))
	}
	return digits + int(start.digit(at))
}

// bucketOf makes an undivided node of ordered layers, which it keeps.
func bucketOf(es []packed) mapNode {
	return mapNode{at: bucketAt, bucket: newLeaf(es), box: boxOf(es)}
}

func boxOf(es []packed) (box rect) {
	for i := range es {
		box.grow(&es[i].rect, 1)
	}
	return box
}

// buildMapTree makes a tree of ordered layers.
func buildMapTree(es []packed) mapNode {
	if len(es) <= maxBucket {
		return bucketOf(slices.Clone(es))
	}
	box := boxOf(es)
	n := mapNode{at: digitOf(box.split())}
	return n.changed(es, (*stack).with, (*mapNode).with)
}

func (n *mapNode) len() int { return int(n.box.n) }

// fits reports whether a layer has all digits before the node's own in common with the layers of its cells
// and kids.
func (n *mapNode) fits(e *packed) bool {
	inner := n.inner()
	return digitOf(min(e.split(), e.start().firstDifference(inner.start()))) >= n.at
}

// inner gives a box within the node, as it is without its bucket.
func (n *mapNode) inner() *rect {
	if len(n.cells) > 0 {
		return &n.cells[0].rect
	}
	return &n.kids[0].box
}

// with gives the tree with es too, which are ordered and not in it.
func (n *mapNode) with(es []packed) mapNode {
	switch {
	case len(es) == 0:
		return *n
	case n.len() == 0:
		return buildMapTree(es)
	case n.at == bucketAt:
		return buildMapTree(mergePacked(n.bucket.ents, es))
	}
	inside, outside := n.sides(es)
	out := *n
	if len(inside) > 0 {
		out = n.changed(inside, (*stack).with, (*mapNode).with)
	}
	if len(outside) == 0 {
		return out
	}
	outside = mergePacked(out.bucket.ents, outside)
	out.setBucket(nil)
	if len(outside) <= maxOutside {
		out.setBucket(outside)
		return out
	}
	// The node becomes a kid of one that holds those too.
	box := out.box
	for i := range outside {
		box.grow(&outside[i].rect, 1)
	}
	start := out.inner().start()
	above := mapNode{at: digitOf(box.split()), kids: []mapNode{out}}
	above.hasKids = 1 << start.digit(above.at)
	return above.changed(outside, (*stack).with, (*mapNode).with)
}

// sides parts layers into those that fit the node's digits and others. A divided node has few of these.
func (n *mapNode) sides(es []packed) (inside, outside []packed) {
	if len(es) == 1 {
		if n.fits(&es[0]) {
			return es, nil
		}
		return nil, es
	}
	for i := range es {
		if n.fits(&es[i]) {
			inside = append(inside, es[i])
		} else {
			outside = append(outside, es[i])
		}
	}
	return inside, outside
}

// setBucket gives a divided node, which is not shared yet, other layers outside.
func (n *mapNode) setBucket(es []packed) {
	n.bucket, n.box = leaf{}, boxOf(es)
	n.outEnd = n.box.hi
	switch {
	case len(es) == 0:
	case len(n.cells)+len(n.kids) > 0:
		n.bucket = newLeafFor(es, n.inner().start())
	default:
		n.bucket = newLeaf(es)
	}
	for i := range n.cells {
		n.box.grow(&n.cells[i].rect, n.cells[i].n)
	}
	for i := range n.kids {
		n.box.grow(&n.kids[i].box, n.kids[i].box.n)
	}
}

// without gives the tree without es, which are ordered and in it.
func (n *mapNode) without(es []packed) mapNode {
	switch {
	case len(es) == 0:
		return *n
	case n.at == bucketAt:
		return bucketOf(subtractPacked(n.bucket.ents, es))
	}
	inside, outside := n.sides(es)
	if len(outside) > 0 {
		left := *n
		left.setBucket(subtractPacked(n.bucket.ents, outside))
		n = &left
	}
	return n.changed(inside, (*stack).without, (*mapNode).without)
}

// changed gives the divided node after a change of the cells and kids to which es belong.
func (n *mapNode) changed(es []packed, cell func(*stack, []packed) stack, kid func(*mapNode, []packed) mapNode) mapNode {
	parts, from := divide(es, n.at)
	out := mapNode{at: n.at}
	out.cells, out.hasCells = changedPlaces(n.cells, n.hasCells, parts, from[:digits+1], cell, (*stack).len)
	out.kids, out.hasKids = changedPlaces(n.kids, n.hasKids, parts, from[digits:], kid, (*mapNode).len)
	if len(out.cells)+len(out.kids) == 0 { // what was outside is all there is
		return buildMapTree(n.bucket.ents)
	}
	out.setBucket(n.bucket.ents)
	if out.len() <= maxBucket {
		return bucketOf(out.ordered(out.len()))
	}
	if at := out.dominant(); at >= 0 {
		kid := out.kids[at]
		rest := out.len() - kid.len() + len(kid.bucket.ents)
		out.kids = slices.Concat(out.kids[:at], out.kids[at+1:])
		kid.setBucket(mergePacked(kid.bucket.ents, out.ordered(rest)))
		return kid
	}
	return out
}

// dominant gives the index of a kid that can take the place of the node, as it has all but a few of its
// layers: every node on the way costs a search a step. It gives -1 if there is none.
func (n *mapNode) dominant() int {
	for i := range n.kids {
		if kid := &n.kids[i]; kid.at != bucketAt && n.len()-kid.len()+len(kid.bucket.ents) <= maxOutside {
			return i
		}
	}
	return -1
}

// ordered gives all layers, about n, in order.
func (n *mapNode) ordered(about int) []packed {
	out := make([]packed, 0, about)
	n.each(func(e *packed) bool {
		out = append(out, *e)
		return true
	})
	slices.SortFunc(out, func(a, b packed) int { return comparePacked(&a, &b) })
	return out
}

// changedPlaces gives the cells or the kids of a node, those there are, after a change of those that have
// layers to change them by: parts[from[i]:from[i+1]] for place i.
func changedPlaces[T any](old []T, has uint64, parts []packed, from []int, change func(*T, []packed) T, length func(*T) int) ([]T, uint64) {
	if from[0] == from[digits] {
		return old, has
	}
	out, now := make([]T, 0, len(old)+1), uint64(0)
	for i := range digits {
		part := parts[from[i]:from[i+1]]
		if has>>i&1 != 0 {
			out, old = append(out, old[0]), old[1:]
		} else if len(part) > 0 {
			var none T
			out = append(out, none)
		} else {
			continue
		}
		last := &out[len(out)-1]
		if len(part) > 0 {
			*last = change(last, part)
		}
		if length(last) == 0 {
			out = out[:len(out)-1]
		} else {
			now |= 1 << i
		}
	}
	return out, now
}

// divide orders layers by their places in a node, and otherwise as they are: those of place i are
// out[from[i]:from[i+1]].
func divide(es []packed, at uint8) (out []packed, from [places + 1]int) {
	if len(es) == 1 {
		for i := es[0].place(at) + 1; i <= places; i++ {
			from[i] = 1
		}
		return es, from
	}
	for i := range es {
		from[es[i].place(at)+1]++
	}
	for i := range places {
		from[i+1] += from[i]
	}
	out = make([]packed, len(es))
	next := from
	for i := range es {
		p := es[i].place(at)
		out[next[p]] = es[i]
		next[p]++
	}
	return out, from
}

// each calls fn for every layer.
func (n *mapNode) each(fn func(*packed) bool) bool {
	for i := range n.bucket.ents {
		if !fn(&n.bucket.ents[i]) {
			return false
		}
	}
	for i := range n.cells {
		if !n.cells[i].each(fn) {
			return false
		}
	}
	for i := range n.kids {
		if !n.kids[i].each(fn) {
			return false
		}
	}
	return true
}

// find gives the layer of e's identity, or nil.
func (n *mapNode) find(e *packed) *packed {
	for n.at != bucketAt && n.fits(e) {
		p := e.place(n.at)
		if p < digits {
			if n.hasCells>>p&1 == 0 {
				return nil
			}
			return n.cells[rank(n.hasCells, p)].find(e)
		}
		if n.hasKids>>(p-digits)&1 == 0 {
			return nil
		}
		n = &n.kids[rank(n.hasKids, p-digits)]
	}
	return n.bucket.find(e)
}

// rank gives the index of place i among those there are.
func rank(has uint64, i int) int { return bits.OnesCount64(has & (1<<i - 1)) }

// newest gives the layer with the highest end, above that LSN, of those that cover k and start below end.
func (n *mapNode) newest(k *mapKey, end, above page.LSN) (best *packed) {
	// What ends at or above end reaches as high as anything can.
	for above < end {
		if n.at >= keyBits {
			if e := n.newestHere(k, end, above); e != nil {
				return e
			}
			return best
		}
		if n.outEnd > above {
			if e := n.bucket.newest(k, end, above); e != nil {
				best, above = e, e.hi
			}
		}
		d := k.digit(n.at)
		for on := n.hasCells & onPath[d]; on != 0; on &= on - 1 {
			c := &n.cells[bits.OnesCount64(n.hasCells&(on&-on-1))]
			if c.lo < end && c.hi > above && c.covers(k) {
				if e := c.newest(k, end, above); e != nil {
					best, above = e, e.hi
				}
			}
		}
		if n.hasKids>>d&1 == 0 {
			return best
		}
		// Digits between those of the node and the kid may differ from k's. Then nothing in the kid covers
		// it, which costs time only.
		n = &n.kids[bits.OnesCount64(n.hasKids&(1<<d-1))]
	}
	return best
}

// newestHere searches a node that has no digit: a bucket, or the layers of one single key.
func (n *mapNode) newestHere(k *mapKey, end, above page.LSN) *packed {
	if n.box.hi <= above || n.box.lo >= end || !n.box.covers(k) {
		return nil
	}
	best := n.bucket.newest(k, end, above)
	if best != nil {
		above = best.hi
	}
	if n.at == keyBits && n.cells[0].covers(k) {
		if e := n.cells[0].newest(k, end, above); e != nil {
			return e
		}
	}
	return best
}
