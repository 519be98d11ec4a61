package timeline

import (
	"context"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

const (
	// leastPiece is what leaves of small values come to, about: pieces of layers are not smaller.
	leastPiece = 64 << 10
	// maxLooks is how many stretches of a span are looked at entry by entry rather than all of it.
	maxLooks = 16
)

// stretch are keys of which a cutter is told in one, or entry by entry.
type stretch struct {
	keys  page.Range
	size  int64
	whole bool
}

// cutCoarsely tells a cutter of what the inputs hold of a span by the leaves of their indexes, where these are close enough
// together. It gives false, and has told nothing, if all entries must be seen.
func (t *Timeline) cutCoarsely(ctx context.Context, r *jobRun, s keySpan, c compaction.CoarseCutter, emit func(compaction.Rect)) (bool, error) {
	all, err := t.stretches(ctx, r, s, c)
	if err != nil || all == nil {
		return false, err
	}
	for i := range all {
		if x := &all[i]; x.whole {
			c.AddWhole(x.keys, x.size, emit)
		} else if err := t.addPlaces(ctx, r, s.within(x.keys), c, emit); err != nil {
			return false, err
		}
	}
	return true, nil
}

// stretches divides a span at the places where pieces of inputs begin. It gives none where that would be too coarse.
func (t *Timeline) stretches(ctx context.Context, r *jobRun, s keySpan, c compaction.CoarseCutter) ([]stretch, error) {
	size := c.Grain() / int64(max(len(s.inputs), 1))
	if size < leastPiece || !t.meta.Shard.Alone() {
		return nil, nil
	}
	var pieces []layer.Piece
	for _, n := range s.inputs {
		l := &r.snap.Layers[n]
		if l.Image || l.LSNs.Start < r.job.Rect.LSNs.Start || r.job.Rect.LSNs.End < l.LSNs.End {
			return nil, nil // there are entries that do not count
		}
		reader, err := t.files.reader(ctx, &r.descs[n])
		if err != nil {
			return nil, err
		}
		some, err := reader.Pieces(t.env.inBackground(ctx), s.keys, size)
		if err != nil {
			return nil, layerError(err)
		}
		for i := range some {
			if some[i].Bytes > 2*size {
				return nil, nil // leaves of large values: there are few of these
			}
		}
		pieces = append(pieces, some...)
	}
	slices.SortFunc(pieces, func(a, b layer.Piece) int { return a.First.Compare(b.First) })
	return joinPieces(pieces, s.keys.End, c), nil
}

// joinPieces makes stretches of pieces in the order of keys, with one for those that have to be looked at and follow each other.
// The last is looked at, as nobody knows where its entries end. It gives none if half must be looked at, or too many stretches.
func joinPieces(pieces []layer.Piece, end page.Key, c compaction.CoarseCutter) (all []stretch) {
	var total, looked int64
	looks := 0
	for i := 0; i < len(pieces); {
		x := stretch{keys: page.Range{Start: pieces[i].First, End: end}}
		for ; i < len(pieces) && pieces[i].First == x.keys.Start; i++ {
			x.size += pieces[i].Bytes
		}
		if i < len(pieces) {
			x.keys.End = pieces[i].First
			x.whole = x.size <= c.Grain() && c.Whole(x.keys)
		}
		total += x.size
		n := len(all)
		if !x.whole {
			looked += x.size
			if n > 0 && !all[n-1].whole {
				all[n-1].keys.End = x.keys.End
				continue
			}
			looks++
		}
		all = append(all, x)
	}
	if 2*looked > total || looks > maxLooks {
		return nil
	}
	return all
}

// within is what the span has of some of its keys.
func (s keySpan) within(keys page.Range) keySpan { return keySpan{keys, s.inputs} }
