package compaction

import (
	"cmp"

	"github.com/stratapg/strata/page"
)

// Output is what a job has made of one piece of its rectangle.
type Output struct {
	// Layer is the file. Where the job had nothing to say about Rect there is none, and Layer.Keys is empty.
	Layer Layer
	// Rect is the piece of Job.Rect that the output answers for: everything that the job has to say about it is in
	// Layer, whose own rectangle lies within. Rects of a job's outputs are disjoint; together they are Job.Rect, so
	// they also span the stretches where no entry is.
	Rect Rect
	// Folded says that of the facts only those are kept that the read points of the job's FoldSpec need.
	Folded bool
}

// None reports whether there is no file.
func (o *Output) None() bool { return o.Layer.Keys.Empty() }

// Compare orders layers by first LSN, last LSN, keys, kind and generation: the older first.
func (id ID) Compare(o ID) int {
	return cmp.Or(
		cmp.Compare(id.LSNs.Start, o.LSNs.Start),
		cmp.Compare(id.LSNs.End, o.LSNs.End),
		id.Keys.Start.Compare(o.Keys.Start),
		id.Keys.End.Compare(o.Keys.End),
		compareBool(id.Image, o.Image),
		cmp.Compare(id.Generation, o.Generation),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Rest gives the keys of the layer that have not moved, sorted and disjoint.
func (l *Layer) Rest() page.Set {
	return page.NewSet(l.Keys).Subtract(page.NewSet(l.Moved...))
}

// Progress says of one input how far published outputs have replaced it.
type Progress struct {
	// Layer is the input's index in the snapshot.
	Layer int
	// Moved are all its keys, those of Layer.Moved among them, that the live layers need no longer take from it.
	Moved []page.Range
	// Gone says that this is all of it, so the layer is to be removed.
	Gone bool
}

// MovedBy says what the outputs that a job has published so far mean for its inputs: which keys of each have moved,
// and which inputs go. Inputs without change are left out, and those that the job does not name as obsolete. A key has moved when the outputs' rectangles cover
// all LSNs of the input there, with outputs that serve every read that the input serves. Of a Retile's inputs,
// images never move, because deltas do not say which keys an image lacks.
func MovedBy(s *Snapshot, j *Job, published []Output) []Progress {
	var all []Progress
	goes := marks(s, j.Obsolete)
	ps := points(s)
	for _, i := range j.Inputs {
		if !goes[i] {
			continue
		}
		l := &s.Layers[i]
		rest := l.Rest()
		left := leftOf(ps, l, rest, j, published).keys()
		if moves := rest.Subtract(left); left.Empty() || !moves.Empty() {
			moved := page.NewSet(l.Keys).Subtract(left)
			all = append(all, Progress{Layer: i, Moved: moved.Ranges(), Gone: left.Empty()})
		}
	}
	return all
}

// marks tells for each layer whether it is among those named; names that are none are passed over.
func marks(s *Snapshot, layers []int) []bool {
	m := make([]bool, len(s.Layers))
	for _, i := range layers {
		if i >= 0 && i < len(m) {
			m[i] = true
		}
	}
	return m
}
