package timeline

import (
	"context"
	"slices"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// walk is one of several walks over indexes. Until it is opened head is a lower bound of what it gives.
type walk struct {
	desc   *layer.Desc
	head   layer.Place
	places *layer.Places // nil until it is opened
}

// walks are ordered as a heap by what they give next.
type walks []*walk

func (h walks) less(i, j int) bool {
	if c := h[i].head.Key.Compare(h[j].head.Key); c != 0 {
		return c < 0
	}
	return h[i].head.LSN < h[j].head.LSN
}

func (h walks) sink(i int) {
	for {
		least := 2*i + 1
		if least >= len(h) {
			return
		}
		if right := least + 1; right < len(h) && h.less(right, least) {
			least = right
		}
		if !h.less(least, i) {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// eachPlace gives the entries of a span, in order, each (key, LSN) once. A layer is begun when the keys come to
// it.
func (t *Timeline) eachPlace(ctx context.Context, r *jobRun, s keySpan, fn func(p layer.Place) error) error {
	var h walks
	for _, n := range s.inputs {
		d := &r.descs[n]
		w := &walk{desc: d}
		w.head.Key = d.Keys.Intersect(s.keys).Start
		h = append(h, w)
	}
	slices.SortFunc(h, func(a, b *walk) int { return a.head.Key.Compare(b.head.Key) }) // as a heap may be
	bytes := int64(openAtOnce(r.descs, s.inputs)) * layer.PlacesMemory
	if err := t.env.Shares.Jobs.Acquire(ctx, bytes); err != nil {
		return err
	}
	defer t.env.Shares.Jobs.Release(bytes)
	defer func() {
		for _, w := range h {
			w.close()
		}
	}()
	var last layer.Place
	for any := false; len(h) > 0; {
		w := h[0]
		if w.places != nil && (!any || w.head.Key != last.Key || w.head.LSN != last.LSN) {
			last, any = w.head, true
			if err := fn(last); err != nil {
				return err
			}
		}
		more, err := t.advance(ctx, w, s.keys)
		if err != nil {
			return err
		}
		if !more {
			w.close()
			n := len(h) - 1
			h[0], h[n] = h[n], nil
			h = h[:n]
		}
		h.sink(0)
	}
	return nil
}

// advance goes to a walk's next place, and is false behind the last.
func (t *Timeline) advance(ctx context.Context, w *walk, keys page.Range) (more bool, err error) {
	if w.places == nil {
		reader, err := t.files.reader(ctx, w.desc)
		if err != nil {
			return false, err
		}
		w.places = reader.Places(keys)
	}
	w.head, more, err = w.places.Next(ctx)
	return more, layerError(err)
}

func (w *walk) close() {
	if w.places != nil {
		w.places.Close()
	}
}

// openAtOnce gives how many of some layers have a key in common at the most.
func openAtOnce(descs []layer.Desc, some []int) int {
	var starts, ends []page.Key
	for _, n := range some {
		starts, ends = append(starts, descs[n].Keys.Start), append(ends, descs[n].Keys.End)
	}
	slices.SortFunc(starts, page.Key.Compare)
	slices.SortFunc(ends, page.Key.Compare)
	most, ended := 0, 0
	for i, k := range starts {
		for !k.Less(ends[ended]) {
			ended++
		}
		most = max(most, i+1-ended)
	}
	return most
}
