package mock

import (
	"fmt"
	"slices"

	"github.com/stratapg/strata/compaction"
)

// Done reports whether everything is published.
func (w *Work) Done() bool { return len(w.outputs) == len(w.done) }

// Cost is the bytes that the next step reads and writes.
func (w *Work) Cost() int64 {
	n := int64(0)
	for _, o := range w.step() {
		n += o.cost
	}
	return n
}

// Publish makes the next outputs live and takes away what goes with them, as the engine does in one step.
func (w *Work) Publish() error {
	t, step := w.t, w.step()
	job, ok := w.present()
	if !ok {
		return fmt.Errorf("job %d (%s): one of its inputs is gone while it is done", w.number, w.Job.Reason)
	}
	add := make([]compaction.Output, 0, len(step))
	for _, o := range step {
		out := compaction.Output{Rect: o.tile, Folded: o.folded}
		if o.layer != nil {
			o.layer.Generation = t.generation
			out.Layer = o.layer.Layer
		}
		add = append(add, out)
	}
	s := t.view()
	progress := w.moved(s, job, add)
	gone := goneWith(&job, progress, len(w.done)+len(add) == len(w.outputs))
	if err := compaction.CheckStep(s, &job, w.done, add, gone); err != nil {
		return fmt.Errorf("job %d (%s): %w", w.number, w.Job.Reason, err)
	}
	for _, p := range progress {
		t.move(t.live[p.Layer], p.Moved)
	}
	w.done = append(w.done, add...)
	leaving := make([]*Layer, len(gone))
	for i, g := range gone {
		leaving[i] = t.live[g]
		w.gone[t.live[g]] = true
	}
	for _, o := range step {
		if l := o.layer; l != nil {
			l.Level, l.Job, l.Reason = job.Level, w.number, job.Reason
			t.add(l, job.Kind.String())
		}
	}
	return t.remove(leaving, job.Kind.String())
}

// moved says what a step means for the job's inputs. What earlier steps have moved stands in the layers, and a step has all of its
// keys, so only inputs that have some of these are looked at, beside the step's own outputs.
func (w *Work) moved(s *compaction.Snapshot, job compaction.Job, add []compaction.Output) []compaction.Progress {
	keys := w.step()[0].tile.Keys
	inputs := job.Inputs
	job.Inputs = nil
	for _, i := range inputs {
		if s.Layers[i].Keys.Overlaps(keys) {
			job.Inputs = append(job.Inputs, i)
		}
	}
	return compaction.MovedBy(s, &job, add)
}

// goneWith gives the layers that go with a step: inputs of which nothing is left, and with the last one what else the job makes obsolete.
func goneWith(job *compaction.Job, progress []compaction.Progress, last bool) []int {
	var gone []int
	for _, p := range progress {
		if p.Gone {
			gone = append(gone, p.Layer)
		}
	}
	if last {
		for _, i := range job.Obsolete {
			if !slices.Contains(job.Inputs, i) {
				gone = append(gone, i)
			}
		}
	}
	return gone
}
