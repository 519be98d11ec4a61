package timeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// region is one output of a job before it is written.
type region struct {
	rect compaction.Rect // of the file
	said compaction.Rect // about which the file says all: it reaches over the keys between, which have no entries
}

// keySpan is a stretch of a job's keys, with the inputs that count there: those whose entries are not in other
// layers already.
type keySpan struct {
	keys   page.Range
	inputs []int // in the snapshot
}

// spans divides keys by the moved keys of a job's inputs.
func (r *jobRun) spans(keys page.Range) []keySpan {
	cuts := []page.Key{keys.Start, keys.End}
	moved := make([]page.Set, len(r.job.Inputs))
	for i, n := range r.job.Inputs {
		moved[i] = page.NewSet(r.snap.Layers[n].Moved...).Intersect(keys)
		for _, m := range moved[i].Ranges() {
			cuts = append(cuts, m.Start, m.End)
		}
	}
	slices.SortFunc(cuts, page.Key.Compare)
	cuts = slices.Compact(cuts)
	var out []keySpan
	for i := range len(cuts) - 1 {
		s := keySpan{keys: page.Range{Start: cuts[i], End: cuts[i+1]}}
		for j, n := range r.job.Inputs {
			if r.snap.Layers[n].Keys.Overlaps(s.keys) && !moved[j].Contains(s.keys.Start) {
				s.inputs = append(s.inputs, n)
			}
		}
		if n := len(out); n > 0 && slices.Equal(out[n-1].inputs, s.inputs) {
			out[n-1].keys.End = s.keys.End
		} else {
			out = append(out, s)
		}
	}
	return out
}

// cut divides the job's rectangle into outputs: the first pass, over the inputs' indexes alone.
func (t *Timeline) cut(ctx context.Context, r *jobRun) ([]region, error) {
	if r.job.Cut == nil {
		return []region{{r.job.Rect, r.job.Rect}}, nil
	}
	var cuts []compaction.Rect
	emit := func(rect compaction.Rect) { cuts = append(cuts, rect) }
	cutter := compaction.Distinct(r.snap, r.job.Rect, r.job.Cut())
	coarse, ok := cutter.(compaction.CoarseCutter)
	for _, s := range r.spans(r.job.Rect.Keys) {
		done := false
		var err error
		if ok {
			done, err = t.cutCoarsely(ctx, r, s, coarse, emit)
		}
		if !done && err == nil {
			err = t.addPlaces(ctx, r, s, cutter, emit)
		}
		if err != nil {
			return nil, err
		}
	}
	cutter.Finish(emit)
	tiles, err := compaction.Tile(r.job.Rect, cuts)
	if err != nil {
		return nil, err
	}
	regions := make([]region, len(tiles))
	taken := r.names()
	for i := range tiles {
		regions[i].said = tiles[i]
		if len(cuts) == 0 {
			continue
		}
		regions[i].rect = compaction.Rect{Keys: cuts[i].Keys, LSNs: tiles[i].LSNs}
		id := compaction.ID{Keys: cuts[i].Keys, LSNs: tiles[i].LSNs, Generation: t.generation}
		if taken[id] {
			return nil, fmt.Errorf("%w: %s", errNamesHeld, id)
		}
	}
	return regions, nil
}

// addPlaces tells a cutter of all that the inputs hold of a span.
func (t *Timeline) addPlaces(ctx context.Context, r *jobRun, s keySpan, c compaction.Cutter, emit func(compaction.Rect)) error {
	return t.eachPlace(ctx, r, s, func(m *layer.Merged) error {
		c.Add(compaction.Entry{Key: m.Key, LSN: m.LSN, Size: m.Size}, emit)
		return nil
	})
}

// errNamesHeld says that an output would have the name of a file that is still there.
var errNamesHeld = errors.New("another layer has the name of an output: it is live, or readers hold it still")

// names are those that no output may have.
func (r *jobRun) names() map[compaction.ID]bool {
	taken := make(map[compaction.ID]bool, len(r.snap.Layers)+len(r.snap.Doomed))
	for i := range r.snap.Layers {
		taken[r.snap.Layers[i].ID] = true
	}
	for _, id := range r.snap.Doomed {
		taken[id] = true
	}
	return taken
}
