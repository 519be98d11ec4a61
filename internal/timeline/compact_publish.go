package timeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// jobRun is a job on its way: what it was planned from, and what of it has been published. Whoever has one has
// the compactor's turn; what changes in it is guarded by the flusher's turn.
type jobRun struct {
	snap      *compaction.Snapshot
	descs     []layer.Desc // of snap.Layers
	job       *compaction.Job
	published []compaction.Output
	gone      map[int]bool // layers of snap that have been removed
	progress  *progress
}

// output is what a job has made: a file, and the rectangle about which it says all that the job has to say. Where
// there was nothing to be said there is no file, and desc is zero.
type output struct {
	desc    layer.Desc
	rect    compaction.Rect
	entries int64
	folded  bool
	chains  []manifest.Chains // of a delta: one
}

// plan gives the form that planners know.
func (o *output) plan() compaction.Output {
	return compaction.Output{Rect: o.rect, Folded: o.folded,
		Layer: compaction.Layer{ID: idOf(&o.desc), Size: o.desc.Size, Entries: o.entries}}
}

// publishOutputs makes outputs of a job part of the timeline: durable, in one edit of the manifest, and then
// seen, in one view. With them go the layers that the job makes obsolete and that are now covered, and of those
// covered in part the manifest notes the keys. end says that these are the job's last outputs: then all that it
// makes obsolete goes which is not covered because the job has not read it (what Drop removes, or images hide).
// The judge of all that is compaction.CheckStep; what it refuses is not published. After an error the files of
// the outputs are deleted, at once or, where a crash may yet bring back an edit that names them, later.
func (t *Timeline) publishOutputs(ctx context.Context, r *jobRun, outs []output, end bool) error {
	if err := t.flusher.take(ctx); err != nil {
		return errors.Join(err, t.discardOutputs(outs))
	}
	defer t.flusher.give()
	removed, moved := r.covers(t.compact.moved, outs, end)
	if err := r.check(outs, removed); err != nil {
		return errors.Join(fmt.Errorf("%s refused: %w", r.job.Kind, err), t.discardOutputs(outs))
	}
	if err := t.placeOutputs(outs); err != nil {
		return errors.Join(err, t.discardOutputs(outs))
	}
	e := manifest.Edit{Moved: moved}
	for i := range outs {
		if outs[i].desc.Size > 0 {
			e.Add = append(e.Add, outs[i].desc)
			e.Chains = append(e.Chains, outs[i].chains...)
		}
	}
	for _, i := range removed {
		e.Remove = append(e.Remove, r.descs[i])
	}
	if err := t.publishLayers(&e); err != nil {
		return err
	}
	r.note(outs, removed)
	r.progress.published(outs, len(removed), len(moved))
	return nil
}

// publishLayers publishes an edit of layers that are in place, and shows it. The caller has the compactor's turn
// and the flusher's. After an error the layers that were to be added are suspects.
func (t *Timeline) publishLayers(e *manifest.Edit) error {
	if len(e.Add)+len(e.Remove)+len(e.Moved) == 0 {
		return nil
	}
	return t.publishStep(e, nil, nil)
}

// publishStep is publishLayers of any edit: ready is called once it is durable, and more changes the view that is shown. Either may be
// nil.
func (t *Timeline) publishStep(e *manifest.Edit, more func(v *view), ready func()) error {
	layers, err := t.view.Load().layers.Apply(e.Add, e.Remove)
	if err == nil {
		err = t.publish(e)
	}
	if err != nil {
		t.compact.doom(e.Add...)
		t.compact.suspects = append(t.compact.suspects, e.Add...)
		return err
	}
	t.compact.moved = movedAfter(t.compact.moved, e)
	t.compact.doom(e.Remove...)
	t.compact.chains.note(e)
	if ready != nil {
		ready()
	}
	t.update(func(v *view) {
		v.layers, v.moved = layers, t.compact.moved
		if more != nil {
			more(v)
		}
	}, e.Remove...)
	return nil
}

// movedAfter gives what has moved of which layer once an edit is done.
func movedAfter(before map[compaction.ID]page.Set, e *manifest.Edit) map[compaction.ID]page.Set {
	moved := maps.Clone(before)
	for i := range e.Remove {
		delete(moved, idOf(&e.Remove[i]))
	}
	for _, m := range e.Moved {
		id := idOf(&m.Layer)
		moved[id] = moved[id].Union(page.NewSet(m.Keys...))
	}
	return moved
}

// placeOutputs makes the entries of new files durable.
func (t *Timeline) placeOutputs(outs []output) error {
	if !slices.ContainsFunc(outs, func(o output) bool { return o.desc.Size > 0 }) {
		return nil
	}
	if err := t.checkDir(); err != nil {
		return err
	}
	if err := t.env.FS.SyncDir(t.dir); err != nil {
		t.dirFailed = true
		return err
	}
	return nil
}

// discardOutputs deletes files that no manifest has ever named.
func (t *Timeline) discardOutputs(outs []output) error {
	var errs []error
	for i := range outs {
		if d := &outs[i].desc; d.Size > 0 {
			if err := t.env.Disk.Remove(filepath.Join(t.dir, d.FileName())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.compact.doom(*d)
				t.bury(*d)
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// clearSuspects is called when an edit has been published: it has replaced those that failed before, and what
// they named can go. The caller has the flusher's turn.
func (t *Timeline) clearSuspects() {
	t.bury(t.compact.suspects...)
	t.compact.suspects = nil
}

// settleSuspects writes the manifest anew if an edit has failed, so that names are free again.
func (t *Timeline) settleSuspects(ctx context.Context) error {
	if err := t.flusher.take(ctx); err != nil {
		return err
	}
	defer t.flusher.give()
	if len(t.compact.suspects) == 0 {
		return nil
	}
	return t.publish(&manifest.Edit{})
}

// check asks the judge.
func (r *jobRun) check(outs []output, removed []int) error {
	add := make([]compaction.Output, len(outs))
	for i := range outs {
		add[i] = outs[i].plan()
	}
	return compaction.CheckStep(r.snap, r.job, r.published, add, removed)
}

// note remembers what has been published.
func (r *jobRun) note(outs []output, removed []int) {
	for i := range outs {
		r.published = append(r.published, outs[i].plan())
	}
	if r.gone == nil {
		r.gone = map[int]bool{}
	}
	for _, i := range removed {
		r.gone[i] = true
	}
}

// covers says which layers go with outs, and which keys of others move.
func (r *jobRun) covers(before map[compaction.ID]page.Set, outs []output, end bool) (removed []int, moved []manifest.Moved) {
	all := slices.Clone(r.published)
	for i := range outs {
		all = append(all, outs[i].plan())
	}
	for _, p := range compaction.MovedBy(r.snap, r.job, all) {
		d := r.descs[p.Layer]
		if r.gone[p.Layer] || !slices.Contains(r.job.Obsolete, p.Layer) {
			continue
		}
		if p.Gone {
			removed = append(removed, p.Layer)
		} else if keys := page.NewSet(p.Moved...).Subtract(before[idOf(&d)]); !keys.Empty() {
			d.Size = 0
			moved = append(moved, manifest.Moved{Layer: d, Keys: keys.Ranges()})
		}
	}
	for _, i := range r.job.Obsolete {
		if end && !r.gone[i] && !slices.Contains(r.job.Inputs, i) {
			removed = append(removed, i)
		}
	}
	return removed, moved
}
