package mock

import (
	"fmt"
	"slices"

	"github.com/stratapg/strata/compaction"
)

// Steps is how many outputs are still to be published.
func (w *Work) Steps() int { return len(w.outputs) - len(w.done) }

// Cost is the bytes that the next output reads and writes.
func (w *Work) Cost() int64 { return w.outputs[len(w.done)].cost }

// Publish makes the next output live and takes away what goes with it, as the engine does in one step.
func (w *Work) Publish() error {
	t, o := w.t, &w.outputs[len(w.done)]
	job, ok := w.present(t)
	if !ok {
		return fmt.Errorf("job %d (%s): one of its inputs is gone while it is done", w.number, job.Reason)
	}
	out := compaction.Output{Rect: o.tile, Folded: o.folded}
	if o.layer != nil {
		o.layer.Generation = t.generation
		out.Layer = o.layer.Layer
	}
	s := t.Snapshot()
	all := append(slices.Clip(w.done), out)
	progress := compaction.MovedBy(s, &job, all)
	gone := w.goneWith(&job, progress)
	if err := compaction.CheckStep(s, &job, w.done, all[len(w.done):], gone); err != nil {
		return fmt.Errorf("job %d (%s): %w", w.number, job.Reason, err)
	}
	for _, p := range progress {
		t.live[p.Layer].Moved = p.Moved
	}
	w.done = all
	leaving := make([]*Layer, len(gone))
	for i, g := range gone {
		leaving[i] = t.live[g]
		w.gone[t.live[g]] = true
	}
	if l := o.layer; l != nil {
		l.Level, l.Job, l.Reason = job.Level, w.number, job.Reason
		t.add(l, job.Kind.String())
	}
	return t.remove(leaving, job.Kind.String())
}

// goneWith gives the layers that go with the next output: inputs of which nothing is left, and with the last one all that the job makes obsolete.
func (w *Work) goneWith(job *compaction.Job, progress []compaction.Progress) []int {
	var gone []int
	for _, p := range progress {
		if p.Gone {
			gone = append(gone, p.Layer)
		}
	}
	if w.Steps() == 1 {
		for _, i := range job.Obsolete {
			if !slices.Contains(gone, i) {
				gone = append(gone, i)
			}
		}
	}
	return gone
}
