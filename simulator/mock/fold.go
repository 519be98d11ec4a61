package mock

import (
	"fmt"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// fold makes the outputs of a Fold: images at the lowest read point and deltas above, one of each for each of the cutter's
// ranges of keys.
func (w *Work) fold(es []entry, cuts, tiles []compaction.Rect) error {
	f := newFolder(w)
	for i := 0; i < len(cuts); {
		n := i + 1
		for n < len(cuts) && cuts[n].Keys == cuts[i].Keys {
			n++
		}
		tile := compaction.Rect{Keys: tiles[i].Keys, LSNs: w.Job.Rect.LSNs}
		cut := compaction.Rect{Keys: cuts[i].Keys, LSNs: w.Job.Rect.LSNs}
		sp := w.t.space.span(tile.Keys)
		if err := f.keys(keySpan(es, sp.lo, sp.hi), sp); err != nil {
			return fmt.Errorf("job %d (%s): %w", w.number, w.Job.Reason, err)
		}
		cost := f.read
		if !w.Job.Fold.Below {
			low := compaction.Rect{Keys: tile.Keys, LSNs: page.LSNRange{Start: tile.LSNs.Start, End: f.lowest + 1}}
			o := output{layer: w.t.newImage(tile.Keys, f.lowest), tile: low, folded: true, cost: cost}
			if cost = 0; o.layer != nil {
				o.cost += o.layer.Size
			}
			w.outputs = append(w.outputs, o)
			cut.LSNs.Start, tile.LSNs.Start = f.lowest+1, f.lowest+1
		}
		if !tile.LSNs.Empty() {
			o := output{tile: tile, folded: true, cost: cost}
			if kept := slices.Clone(f.kept); len(kept) > 0 {
				o.layer = w.t.newDelta(cut, kept, deltaOverhead)
				o.cost += o.layer.Size
			}
			w.outputs = append(w.outputs, o)
		}
		i = n
	}
	return nil
}

// folder folds key by key.
type folder struct {
	t      *Timeline
	job    *compaction.Job
	r      *compaction.Retention
	lowest page.LSN
	images []*Layer // inputs, by LSN
	kept   []entry
	held   []entry
	read   int64
}

func newFolder(w *Work) *folder {
	f := &folder{t: w.t, job: &w.Job, lowest: w.Job.Fold.Horizon,
		r: compaction.NewRetention(w.Job.Fold, compaction.FoldThreshold, w.Job.MaxRecords)}
	if r := w.Job.Fold.Retain; len(r) > 0 {
		f.lowest = r[0]
	}
	for _, l := range w.inputs {
		if l.Image {
			f.images = append(f.images, l)
		}
	}
	slices.SortFunc(f.images, func(a, b *Layer) int { return a.Compare(b.ID) })
	return f
}

// keys folds the keys of a span; what is kept beside image layers is in kept.
func (f *folder) keys(es []entry, sp span) error {
	f.kept, f.read = f.kept[:0], f.t.bytesOf(es)
	if n := len(f.images); n > 0 && (f.job.Fold.Below || f.images[n-1].LSNs.Start > f.lowest) {
		return f.everyKey(es, sp)
	}
	for i := 0; i < len(es); {
		n := i + 1
		for n < len(es) && es[n].key() == es[i].key() {
			n++
		}
		if err := f.key(es[i].key(), es[i:n]); err != nil {
			return err
		}
		i = n
	}
	return nil
}

// everyKey folds keys without records too, whose images have to go somewhere: the records that led to an image above
// the lowest read point may be gone.
func (f *folder) everyKey(es []entry, sp span) error {
	for k := sp.lo; k < sp.hi; k++ {
		n := 0
		for n < len(es) && es[n].key() == k {
			n++
		}
		if err := f.key(k, es[:n]); err != nil {
			return err
		}
		es = es[n:]
	}
	return nil
}

// key folds one key's history: its entries, and the images that input layers have of it.
func (f *folder) key(key uint32, es []entry) error {
	f.r.Reset(f.released(key))
	f.held = f.held[:0]
	imgs := f.images
	add := func(e entry, v compaction.Version) error {
		f.held = append(f.held, e)
		return f.do(key)(f.r.Add(v))
	}
	image := func(l *Layer) error {
		if l.span.lo > key || key >= l.span.hi || !f.t.exists(key, l.LSNs.Start) {
			return nil
		}
		f.read += f.t.space.imageBytes(key)
		e, _ := f.t.imageEntry(key, l.LSNs.Start)
		return add(e, compaction.Version{LSN: l.LSNs.Start, Image: true})
	}
	for _, e := range es {
		x := f.t.log.lsn(e.record())
		for len(imgs) > 0 && imgs[0].LSNs.Start <= x {
			if err := image(imgs[0]); err != nil {
				return err
			}
			imgs = imgs[1:]
		}
		if err := add(e, compaction.Version{LSN: x, Image: e.image(), WillInit: f.t.log.inits.has(e.record())}); err != nil {
			return err
		}
	}
	for _, l := range imgs {
		if err := image(l); err != nil {
			return err
		}
	}
	return f.do(key)(f.r.Finish())
}

// released gives the retained LSNs at which nobody reads the key any more.
func (f *folder) released(key uint32) []page.LSN {
	var out []page.LSN
	for i, p := range f.t.retain {
		if f.t.releasedAt(i, key) {
			out = append(out, p.LSN)
		}
	}
	return out
}

// do does the steps of a Retention.
func (f *folder) do(key uint32) func([]compaction.Step, error) error {
	return func(steps []compaction.Step, err error) error {
		if err != nil {
			return err
		}
		for _, s := range steps {
			if s.Do != compaction.PutImage && s.N > len(f.held) {
				return fmt.Errorf("retention of key %s takes %d versions of %d", f.t.space.Key(key), s.N, len(f.held))
			}
			switch s.Do {
			case compaction.Skip:
				f.held = f.held[:len(f.held)-s.N]
			case compaction.Write:
				for _, e := range f.held[:s.N] {
					f.keep(e)
				}
				f.held = f.held[:copy(f.held, f.held[s.N:])]
			case compaction.Forget, compaction.Apply:
				f.held = f.held[:copy(f.held, f.held[s.N:])]
			case compaction.PutImage:
				if e, ok := f.t.imageEntry(key, s.LSN); ok {
					f.t.imagesInDeltas = true
					f.keep(e)
				}
			}
		}
		return nil
	}
}

// keep writes an entry, unless an image layer at the lowest read point says the same.
func (f *folder) keep(e entry) {
	if f.job.Fold == nil || f.job.Fold.Below || f.t.log.lsn(e.record()) > f.lowest {
		f.kept = append(f.kept, e)
	}
}

// imageEntry gives the entry of an image of a key at an LSN: behind the newest record there, which need not be of the key.
func (t *Timeline) imageEntry(key uint32, x page.LSN) (entry, bool) {
	n := t.log.after(x)
	if n == 0 {
		return newEntry(key, 0), false
	}
	return newEntry(key, n-1) | imageBit, true
}
