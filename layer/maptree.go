package layer

import (
	"slices"

	"github.com/stratapg/strata/page"
)

// mapNode is a node of a persistent treap of layers, ordered by start key and start LSN. Each node knows
// the box around all layers below it, which prunes searches for a key, a range or an LSN. Nodes are never
// changed: inserting and removing copy the path to the root, so that versions share the rest.
type mapNode struct {
	d           Desc
	prio        uint64
	left, right *mapNode
	keys        page.Range    // from the lowest start to the highest end
	lsns        page.LSNRange // likewise
	n           int
}

// compareDesc orders layers of one kind; it gives 0 for the same layer only.
func compareDesc(a, b *Desc) int {
	if c := a.Keys.Start.Compare(b.Keys.Start); c != 0 {
		return c
	}
	if a.LSNs.Start != b.LSNs.Start {
		return compareLSN(a.LSNs.Start, b.LSNs.Start)
	}
	if c := a.Keys.End.Compare(b.Keys.End); c != 0 {
		return c
	}
	return compareLSN(a.LSNs.End, b.LSNs.End)
}

func compareLSN(a, b page.LSN) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// priority mixes a layer's identity, so that the shape of a tree depends on its content alone.
func priority(d *Desc) uint64 {
	const mul = 0x9E3779B97F4A7C15 // 2^64 over the golden ratio
	h := uint64(mul)
	for _, v := range [...]uint64{
		uint64(d.Keys.Start.F1)<<32 | uint64(d.Keys.Start.F2), uint64(d.Keys.Start.F3)<<32 | uint64(d.Keys.Start.F4),
		uint64(d.Keys.Start.F5)<<32 | uint64(d.Keys.Start.F6), uint64(d.LSNs.Start), uint64(d.LSNs.End),
		uint64(d.Keys.End.F3)<<32 | uint64(d.Keys.End.F4), uint64(d.Keys.End.F5)<<32 | uint64(d.Keys.End.F6),
	} {
		h = (h ^ v) * mul
		h ^= h >> 29
	}
	return h
}

// makeNode puts a layer above two trees.
func makeNode(d *Desc, prio uint64, left, right *mapNode) *mapNode {
	n := &mapNode{d: *d, prio: prio, left: left, right: right, keys: d.Keys, lsns: d.LSNs, n: 1}
	for _, c := range [...]*mapNode{left, right} {
		if c == nil {
			continue
		}
		n.n += c.n
		if c.keys.Start.Less(n.keys.Start) {
			n.keys.Start = c.keys.Start
		}
		if n.keys.End.Less(c.keys.End) {
			n.keys.End = c.keys.End
		}
		n.lsns.Start, n.lsns.End = min(n.lsns.Start, c.lsns.Start), max(n.lsns.End, c.lsns.End)
	}
	return n
}

// buildTree makes a tree of layers in order.
func buildMapTree(ds []*Desc, prios []uint64) *mapNode {
	if len(ds) == 0 {
		return nil
	}
	top := 0
	for i, p := range prios {
		if p > prios[top] {
			top = i
		}
	}
	return makeNode(ds[top], prios[top], buildMapTree(ds[:top], prios[:top]), buildMapTree(ds[top+1:], prios[top+1:]))
}

// split divides a tree into what orders before d and what orders after it; d itself is not in it.
func split(n *mapNode, d *Desc) (before, after *mapNode) {
	if n == nil {
		return nil, nil
	}
	if compareDesc(&n.d, d) < 0 {
		l, r := split(n.right, d)
		return makeNode(&n.d, n.prio, n.left, l), r
	}
	l, r := split(n.left, d)
	return l, makeNode(&n.d, n.prio, r, n.right)
}

// merge joins two trees of which all of a orders before all of b.
func merge(a, b *mapNode) *mapNode {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.prio >= b.prio:
		return makeNode(&a.d, a.prio, a.left, merge(a.right, b))
	}
	return makeNode(&b.d, b.prio, merge(a, b.left), b.right)
}

// insert adds a layer that must not be there.
func (n *mapNode) insert(d *Desc, prio uint64) *mapNode {
	if n == nil || prio > n.prio {
		l, r := split(n, d)
		return makeNode(d, prio, l, r)
	}
	if compareDesc(d, &n.d) < 0 {
		return makeNode(&n.d, n.prio, n.left.insert(d, prio), n.right)
	}
	return makeNode(&n.d, n.prio, n.left, n.right.insert(d, prio))
}

// remove takes away a layer that must be there.
func (n *mapNode) remove(d *Desc) *mapNode {
	switch c := compareDesc(d, &n.d); {
	case c < 0:
		return makeNode(&n.d, n.prio, n.left.remove(d), n.right)
	case c > 0:
		return makeNode(&n.d, n.prio, n.left, n.right.remove(d))
	}
	return merge(n.left, n.right)
}

// find gives the layer of d's identity, or nil.
func (n *mapNode) find(d *Desc) *Desc {
	for n != nil {
		switch c := compareDesc(d, &n.d); {
		case c == 0:
			return &n.d
		case c < 0:
			n = n.left
		default:
			n = n.right
		}
	}
	return nil
}

func (n *mapNode) len() int {
	if n == nil {
		return 0
	}
	return n.n
}

// all appends every layer in order.
func (n *mapNode) all(out []Desc) []Desc {
	if n == nil {
		return out
	}
	return n.right.all(append(n.left.all(out), n.d))
}

// newestAt gives the layer with the highest end that covers k and starts below end, if it is better than
// best.
func (n *mapNode) newestAt(k page.Key, end page.LSN, best *Desc) *Desc {
	for n != nil {
		if n.lsns.Start >= end || best != nil && n.lsns.End <= best.LSNs.End || !n.keys.Contains(k) {
			return best
		}
		if k.Less(n.d.Keys.Start) {
			n = n.left
			continue
		}
		// Layers that start near k are the likelier ones.
		best = n.right.newestAt(k, end, best)
		if n.d.LSNs.Start < end && (best == nil || n.d.LSNs.End > best.LSNs.End) && k.Less(n.d.Keys.End) {
			best = &n.d
		}
		n = n.left
	}
	return best
}

// nextStart gives the lowest start key above k and below limit of a layer whose start LSN is in [low, end);
// else limit.
func (n *mapNode) nextStart(k, limit page.Key, low, end page.LSN) page.Key {
	for n != nil {
		if n.lsns.Start >= end || n.lsns.End <= low || !n.keys.Start.Less(limit) {
			return limit
		}
		if k.Less(n.d.Keys.Start) {
			limit = n.left.nextStart(k, limit, low, end)
			if n.d.LSNs.Start >= low && n.d.LSNs.Start < end && n.d.Keys.Start.Less(limit) {
				return n.d.Keys.Start
			}
		}
		n = n.right
	}
	return limit
}

// overlapping calls fn for every layer that overlaps one of the sorted ranges, ends above low and starts
// below end.
func (n *mapNode) overlapping(ranges []page.Range, low, end page.LSN, fn func(*Desc)) {
	if n == nil || n.lsns.Start >= end || n.lsns.End <= low {
		return
	}
	if ranges = narrow(ranges, n.keys); len(ranges) == 0 {
		return
	}
	n.left.overlapping(ranges, low, end, fn)
	if n.d.LSNs.Start < end && n.d.LSNs.End > low && len(narrow(ranges, n.d.Keys)) > 0 {
		fn(&n.d)
	}
	n.right.overlapping(ranges, low, end, fn)
}

// narrow gives those of sorted, disjoint ranges that overlap r.
func narrow(ranges []page.Range, r page.Range) []page.Range {
	from, _ := slices.BinarySearchFunc(ranges, r.Start, func(x page.Range, k page.Key) int {
		if k.Less(x.End) {
			return 1
		}
		return -1
	})
	ranges = ranges[from:]
	to, _ := slices.BinarySearchFunc(ranges, r.End, func(x page.Range, k page.Key) int { return x.Start.Compare(k) })
	return ranges[:to]
}
