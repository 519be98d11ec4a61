package layer

import (
	"iter"
	"slices"

	"github.com/stratapg/strata/page"
)

// stack is a persistent sequence of layers in the order of comparePacked, which is that of LSNs: a B+tree
// whose nodes know the rectangle around what is below them. Nodes never change; adding and removing copy
// the paths to the root. Where all layers of a stack share a key and their LSNs do not overlap, as in every
// cell of a healthy map, a search for a key below an LSN takes one path.
type stack struct {
	rect
	kids []stack // of an inner node
	leaf leaf    // of a leaf; an inner node has there the start LSNs of its kids as words
}

const (
	// maxLeaf and maxKids bound what a change copies: 1.5 KiB and 4.8 KiB a level.
	maxLeaf = 16
	maxKids = 32
)

// leafOf makes a leaf of es, which it keeps.
func leafOf(es []packed) stack { return stack{rect: boxOf(es), leaf: newLeaf(es)} }

func innerOf(kids []stack) (s stack) {
	los := make([]uint64, len(kids))
	for i := range kids {
		s.grow(&kids[i].rect, kids[i].n)
		s.leaf.loose = s.leaf.loose || i > 0 && kids[i].lo < kids[i-1].lo
		los[i] = uint64(kids[i].lo)
	}
	s.kids, s.leaf.words = kids, los
	return s
}

// stackOf makes a stack of ordered layers, which it copies.
func stackOf(es []packed) (s stack) { return s.with(es) }

func (s *stack) len() int { return int(s.n) }

// with gives the stack with es too, which are ordered and not in it.
func (s *stack) with(es []packed) stack {
	if len(es) == 0 {
		return *s
	}
	level := s.insert(es)
	for len(level) > 1 {
		level = groups(level, maxKids, true, innerOf)
	}
	return level[0]
}

// insert gives the nodes that take the place of s, on its level.
func (s *stack) insert(es []packed) []stack {
	if s.kids == nil {
		atEnd := s.n == 0 || comparePacked(&s.leaf.ents[len(s.leaf.ents)-1], &es[0]) < 0
		return groups(mergePacked(s.leaf.ents, es), maxLeaf, atEnd, leafOf)
	}
	out := make([]stack, 0, len(s.kids)+1)
	atEnd := true
	for i := range s.kids {
		kid := &s.kids[i]
		n := len(es)
		if i+1 < len(s.kids) {
			n, _ = slices.BinarySearchFunc(es, s.kids[i+1].first(), func(e packed, first *packed) int { return comparePacked(&e, first) })
		}
		if n == 0 {
			out = append(out, *kid)
			continue
		}
		atEnd = atEnd && i+1 == len(s.kids)
		out = append(out, kid.insert(es[:n])...)
		es = es[n:]
	}
	return groups(out, maxKids, atEnd, innerOf)
}

// groups cuts a sequence into as few nodes as it needs: full ones where it grows at its end, as maps do most,
// else equal ones with room.
func groups[T any](all []T, limit int, atEnd bool, node func([]T) stack) []stack {
	if len(all) <= limit {
		return []stack{node(all)}
	}
	size := limit
	if !atEnd {
		n := (len(all) + limit*3/4 - 1) / (limit * 3 / 4)
		size = (len(all) + n - 1) / n
	}
	out := make([]stack, 0, len(all)/size+1)
	for c := range slices.Chunk(all, size) {
		out = append(out, node(slices.Clone(c)))
	}
	return out
}

func (s *stack) first() *packed {
	for s.kids != nil {
		s = &s.kids[0]
	}
	return &s.leaf.ents[0]
}

// without gives the stack without es, which are ordered and in it.
func (s *stack) without(es []packed) stack {
	if len(es) == 0 {
		return *s
	}
	if len(es) == s.len() {
		return stack{} // an inner node has kids
	}
	out := s.cut(es)
	for len(out.kids) == 1 {
		out = out.kids[0]
	}
	return out
}

func (s *stack) cut(es []packed) stack {
	if s.kids == nil {
		return leafOf(subtractPacked(s.leaf.ents, es))
	}
	keep := make([]stack, 0, len(s.kids))
	for i := range s.kids {
		kid := s.kids[i]
		n := len(es)
		if i+1 < len(s.kids) {
			n, _ = slices.BinarySearchFunc(es, s.kids[i+1].first(), func(e packed, first *packed) int { return comparePacked(&e, first) })
		}
		if n > 0 {
			kid = kid.cut(es[:n])
			es = es[n:]
		}
		if kid.n == 0 {
			continue
		}
		if last := len(keep) - 1; last >= 0 && joinable(&keep[last], &kid) {
			keep[last] = join(&keep[last], &kid)
		} else {
			keep = append(keep, kid)
		}
	}
	return innerOf(keep)
}

// joinable reports whether two neighbours are so empty that they should be one.
func joinable(a, b *stack) bool {
	return len(a.leaf.ents)+len(b.leaf.ents) <= maxLeaf/2 && len(a.kids)+len(b.kids) <= maxKids/2
}

func join(a, b *stack) stack {
	if a.kids == nil {
		return leafOf(slices.Concat(a.leaf.ents, b.leaf.ents))
	}
	return innerOf(slices.Concat(a.kids, b.kids))
}

// find gives the layer of e's identity, or nil.
func (s *stack) find(e *packed) *packed {
	for s.kids != nil {
		i, ok := slices.BinarySearchFunc(s.kids, e, func(kid stack, e *packed) int { return comparePacked(kid.first(), e) })
		if !ok && i > 0 {
			i--
		}
		s = &s.kids[i]
	}
	return s.leaf.find(e)
}

// newest gives the layer with the highest end, above that LSN, of those that cover k and start below end.
func (s *stack) newest(k *mapKey, end, above page.LSN) (best *packed) {
	if s.kids == nil {
		return s.leaf.newest(k, end, above)
	}
	for i := s.leaf.fromBelow(s.leaf.words, end); i >= 0; i-- {
		kid := &s.kids[i]
		if kid.hi <= above {
			return best
		}
		if kid.lo < end && kid.covers(k) {
			if e := kid.newest(k, end, above); e != nil {
				best, above = e, e.hi
			}
		}
	}
	return best
}

// all gives the layers newest first.
func (s *stack) all() iter.Seq[*packed] {
	return func(yield func(*packed) bool) { s.each(yield) }
}

func (s *stack) each(yield func(*packed) bool) bool {
	for i := len(s.leaf.ents) - 1; i >= 0; i-- {
		if !yield(&s.leaf.ents[i]) {
			return false
		}
	}
	for i := len(s.kids) - 1; i >= 0; i-- {
		if !s.kids[i].each(yield) {
			return false
		}
	}
	return true
}
