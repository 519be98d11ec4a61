package layer

import (
	"slices"

	"github.com/stratapg/strata/page"
)

// mapNode is a node of a persistent interval trie over the bits of keys. The layers of a node have all bits
// before its split in common. Those whose first and last key differ there first lie in its cell: they all
// hold the key at which its halves meet, so that in a healthy timeline they lie one upon another, and the
// cell is a stack. The others are below, in the half that holds them whole. A few layers make a bucket,
// which is not divided.
//
// Each layer lies in one place, which its keys alone determine: nothing is ever rebalanced, an insertion or
// removal copies the path to that place, and the shape of a tree depends on its content alone. A path has
// at most keyBits nodes; about the logarithm of the number of layers with keys as they are.
type mapNode struct {
	split uint64 // the bit that divides the halves; bucket for none
	cell  stack
	kids  [2]*mapNode
	box   rect // around all layers of the node
}

const (
	// bucket is the split of a node that is not divided.
	bucket = keyBits + 1
	// maxBucket was measured: smaller ones make more nodes, larger ones are slower to search.
	maxBucket = 8
)

// bucketOf makes an undivided node of ordered layers, which it keeps.
func bucketOf(es []packed) *mapNode {
	n := &mapNode{split: bucket, cell: leafOf(es)}
	n.box = n.cell.rect
	return n
}

// newNode makes a node of its parts.
func newNode(split uint, cell stack, kids [2]*mapNode) *mapNode {
	n := &mapNode{split: uint64(split), cell: cell, kids: kids, box: cell.rect}
	for _, k := range kids {
		if k != nil {
			n.box.grow(&k.box, k.box.n)
		}
	}
	switch {
	case n.box.n == 0:
		return nil
	case n.box.n <= maxBucket:
		es := n.append(make([]packed, 0, n.box.n))
		slices.SortFunc(es, func(a, b packed) int { return comparePacked(&a, &b) })
		return bucketOf(es)
	case n.box.n == n.count(0):
		return kids[0]
	case n.box.n == n.count(1):
		return kids[1]
	}
	return n
}

func (n *mapNode) count(half int) uint32 {
	if n.kids[half] == nil {
		return 0
	}
	return n.kids[half].box.n
}

func (n *mapNode) len() int {
	if n == nil {
		return 0
	}
	return int(n.box.n)
}

// append appends all layers in no order.
func (n *mapNode) append(out []packed) []packed {
	if n == nil {
		return out
	}
	out = n.kids[0].append(out)
	for e := range n.cell.all() {
		out = append(out, *e)
	}
	return n.kids[1].append(out)
}

// parts are layers by where they go at a split: in one of the halves, or the cell.
type parts struct {
	cell   []packed
	halves [2][]packed
}

// divide keeps the order.
func divide(es []packed, split uint) (p parts) {
	if len(es) == 1 {
		// The most frequent case needs no copy.
		switch at := es[0].split(); {
		case at == split:
			p.cell = es
		default:
			p.halves[es[0].start().bit(split)] = es
		}
		return p
	}
	for i := range es {
		if es[i].split() == split {
			p.cell = append(p.cell, es[i])
		} else {
			half := &p.halves[es[i].start().bit(split)]
			*half = append(*half, es[i])
		}
	}
	return p
}

// buildMapTree makes a tree of ordered layers.
func buildMapTree(es []packed) *mapNode {
	if len(es) == 0 {
		return nil
	}
	if len(es) <= maxBucket {
		return bucketOf(slices.Clone(es))
	}
	var box rect
	for i := range es {
		box.grow(&es[i].rect, 1)
	}
	at := box.split()
	p := divide(es, at)
	return newNode(at, stackOf(p.cell), [2]*mapNode{buildMapTree(p.halves[0]), buildMapTree(p.halves[1])})
}

// with gives the tree with es too, which are ordered and not in it.
func (n *mapNode) with(es []packed) *mapNode {
	if len(es) == 0 {
		return n
	}
	if n == nil {
		return buildMapTree(es)
	}
	if n.split == bucket {
		return buildMapTree(mergePacked(n.cell.ents, es))
	}
	box := n.box
	for i := range es {
		box.grow(&es[i].rect, 1)
	}
	at := box.split()
	p := divide(es, at)
	if at == uint(n.split) {
		return newNode(at, n.cell.with(p.cell), [2]*mapNode{n.kids[0].with(p.halves[0]), n.kids[1].with(p.halves[1])})
	}
	// The new layers reach beyond the node: it becomes one half of a new one, or part of that.
	half := n.box.start().bit(at)
	var kids [2]*mapNode
	kids[half] = n.with(p.halves[half])
	kids[1-half] = buildMapTree(p.halves[1-half])
	return newNode(at, stackOf(p.cell), kids)
}

// without gives the tree without es, which are ordered and in it.
func (n *mapNode) without(es []packed) *mapNode {
	if len(es) == 0 {
		return n
	}
	if n.split == bucket {
		left := n.cell.without(es)
		if left.n == 0 {
			return nil
		}
		return bucketOf(left.ents)
	}
	p := divide(es, uint(n.split))
	return newNode(uint(n.split), n.cell.without(p.cell), [2]*mapNode{n.kids[0].without(p.halves[0]), n.kids[1].without(p.halves[1])})
}

// find gives the layer of e's identity, or nil.
func (n *mapNode) find(e *packed) *packed {
	at := uint64(e.split())
	for n != nil && n.split < at {
		n = n.kids[e.start().bit(uint(n.split))]
	}
	if n == nil || n.split != at && n.split != bucket {
		return nil
	}
	return n.cell.find(e)
}

// newest gives the layer with the highest end of those that cover k and start below end, if it is higher
// than that of best.
func (n *mapNode) newest(k *mapKey, end page.LSN, best *packed) *packed {
	words := [4]uint64{k.a, k.b, uint64(k.c) << 48}
	for n != nil {
		if n.cell.lo < end && n.cell.covers(k) && (best == nil || n.cell.hi > best.hi) {
			best = n.cell.newest(k, end, best)
		}
		if n.split >= keyBits {
			break
		}
		// Bits before the split may differ from k's. Then nothing below covers it, which costs time only.
		n = n.kids[words[n.split>>6&3]>>(^n.split&63)&1]
	}
	return best
}
