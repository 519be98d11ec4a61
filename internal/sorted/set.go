// Package sorted keeps very many small values of one size in order, in little more memory than their own: no pointers, no free
// places, no buckets.
package sorted

import (
	"iter"
	"slices"
)

// chunk is how many values lie in one piece at most. A change copies one piece.
const chunk = 128

// Set is values in order, no two of them equal. A copy of a Set that Clone gave does not see what is changed in
// the other. One goroutine at a time may change it.
type Set[T any] struct {
	compare func(a, b *T) int
	// chunks are in order, none is empty, and none is ever changed in place: a clone may have it too.
	chunks [][]T
	n      int
}

// New makes an empty set. compare orders values, and gives 0 for those that are the same.
func New[T any](compare func(a, b *T) int) *Set[T] { return &Set[T]{compare: compare} }

// Collect makes a set of values, and puts them in order. If two are the same it gives one of them as twice.
func Collect[T any](compare func(a, b *T) int, values []T) (s *Set[T], twice *T) {
	s = New(compare)
	slices.SortFunc(values, func(a, b T) int { return compare(&a, &b) })
	for i := 1; i < len(values); i++ {
		if compare(&values[i-1], &values[i]) == 0 {
			return nil, &values[i]
		}
	}
	s.n = len(values)
	for piece := range slices.Chunk(values, chunk) {
		s.chunks = append(s.chunks, exact(piece))
	}
	return s, nil
}

// exact is a copy without free places.
func exact[T any](values ...[]T) []T {
	n := 0
	for _, v := range values {
		n += len(v)
	}
	out := make([]T, 0, n)
	for _, v := range values {
		out = append(out, v...)
	}
	return out
}

// Len is how many values there are.
func (s *Set[T]) Len() int { return s.n }

// place finds the chunk where v is or would go, and where in it.
func (s *Set[T]) place(v *T) (c, i int, found bool) {
	c, first := slices.BinarySearchFunc(s.chunks, v, func(piece []T, v *T) int { return s.compare(&piece[0], v) })
	if first {
		return c, 0, true
	}
	if c = max(c-1, 0); c == len(s.chunks) {
		return c, 0, false
	}
	low, high := 0, len(s.chunks[c])
	for low < high {
		at := int(uint(low+high) / 2)
		switch by := s.compare(&s.chunks[c][at], v); {
		case by == 0:
			return c, at, true
		case by < 0:
			low = at + 1
		default:
			high = at
		}
	}
	return c, low, false
}

// Find gives the value that is the same as v.
func (s *Set[T]) Find(v *T) (found T, ok bool) {
	c, i, ok := s.place(v)
	if ok {
		found = s.chunks[c][i]
	}
	return found, ok
}

// Put adds a value, in the place of the one that is the same.
func (s *Set[T]) Put(v T) {
	c, i, found := s.place(&v)
	if c == len(s.chunks) {
		s.chunks, s.n = append(s.chunks, []T{v}), 1
		return
	}
	old := s.chunks[c]
	if found {
		s.chunks[c] = exact(old[:i], []T{v}, old[i+1:])
		return
	}
	s.n++
	whole := exact(old[:i], []T{v}, old[i:])
	if len(whole) <= chunk {
		s.chunks[c] = whole
		return
	}
	// In ascending order pieces stay full; else both are half full.
	cut := len(whole) / 2
	if c == len(s.chunks)-1 && i == len(old) {
		cut = chunk
	}
	s.chunks[c] = exact(whole[:cut])
	s.chunks = slices.Insert(s.chunks, c+1, exact(whole[cut:]))
}

// Delete removes the value that is the same as v, and reports whether there was one.
func (s *Set[T]) Delete(v *T) bool {
	c, i, found := s.place(v)
	if !found {
		return false
	}
	s.n--
	old := s.chunks[c]
	switch {
	case len(old) == 1:
		s.chunks = slices.Delete(s.chunks, c, c+1)
	case c+1 < len(s.chunks) && len(old)-1+len(s.chunks[c+1]) <= chunk/2:
		s.chunks[c] = exact(old[:i], old[i+1:], s.chunks[c+1])
		s.chunks = slices.Delete(s.chunks, c+1, c+2)
	default:
		s.chunks[c] = exact(old[:i], old[i+1:])
	}
	return true
}

// All gives the values in order. They must not be changed.
func (s *Set[T]) All() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for _, piece := range s.chunks {
			for i := range piece {
				if !yield(&piece[i]) {
					return
				}
			}
		}
	}
}

// Clone gives a set of the same values.
func (s *Set[T]) Clone() *Set[T] {
	c := *s
	c.chunks = slices.Clone(s.chunks)
	return &c
}
