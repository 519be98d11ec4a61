package mock

import (
	"fmt"

	"github.com/stratapg/strata/compaction"
)

// Planned is a job of a plan, with the layers that it names.
type Planned struct {
	Job              compaction.Job
	inputs, obsolete []*Layer
	gone             map[*Layer]bool // inputs that went with outputs published so far
}

// Resolve finds the layers that a plan for the present snapshot names.
func (t *Timeline) Resolve(p compaction.Plan) ([]*Planned, error) {
	var out []*Planned
	for _, j := range p.Jobs {
		in, err := t.named(j.Inputs)
		if err != nil {
			return nil, fmt.Errorf("%s job (%s): %w", j.Kind, j.Reason, err)
		}
		ob, err := t.named(j.Obsolete)
		if err != nil {
			return nil, fmt.Errorf("%s job (%s): %w", j.Kind, j.Reason, err)
		}
		out = append(out, &Planned{Job: j, inputs: in, obsolete: ob, gone: map[*Layer]bool{}})
	}
	return out, nil
}

func (t *Timeline) named(indexes []int) ([]*Layer, error) {
	out := make([]*Layer, len(indexes))
	for k, i := range indexes {
		if i < 0 || i >= len(t.live) {
			return nil, fmt.Errorf("it names layer %d of %d", i, len(t.live))
		}
		out[k] = t.live[i]
	}
	return out, nil
}

// present gives the job with the places of its layers now; ok is false if one of its inputs is gone by something else than the job.
func (p *Planned) present() (j compaction.Job, ok bool) {
	j = p.Job
	j.Inputs, j.Obsolete = nil, nil
	for _, l := range p.inputs {
		if l.place != notLive {
			j.Inputs = append(j.Inputs, l.place)
		} else if !p.gone[l] {
			return j, false
		}
	}
	for _, l := range p.obsolete {
		if l.place != notLive {
			j.Obsolete = append(j.Obsolete, l.place)
		}
	}
	return j, true
}

// Work is a job that is being done: prepared as a whole, published output by output.
type Work struct {
	*Planned
	t       *Timeline
	number  int
	outputs []output
	done    []compaction.Output
}

// step gives the outputs that are published next: all of one range of keys, since a key's facts must not be there in part.
func (w *Work) step() []output {
	from := len(w.done)
	to := from
	for to < len(w.outputs) && w.outputs[to].tile.Keys == w.outputs[from].tile.Keys {
		to++
	}
	return w.outputs[from:to]
}

// output is one step of a job: a layer, which may be missing if there was nothing to write, and what it answers for.
type output struct {
	layer  *Layer
	tile   compaction.Rect
	folded bool
	cost   int64
}

// Prepare checks a job and gathers what it is to write. It gives nothing if a layer that the job names is gone. Numbers of jobs count
// from 1.
func (t *Timeline) Prepare(p *Planned, number int) (*Work, error) {
	job, ok := p.present()
	if !ok {
		return nil, nil
	}
	if err := compaction.CheckJob(t.view(), &job); err != nil {
		return nil, fmt.Errorf("job %d (%s): %w", number, job.Reason, err)
	}
	w := &Work{Planned: p, t: t, number: number}
	switch job.Kind {
	case compaction.Retile, compaction.Fold:
		es := t.gather(p.inputs, job.Rect)
		if job.Kind == compaction.Retile {
			var err error
			if es, err = t.limitRuns(es, job.MaxRecords); err != nil {
				return nil, err
			}
		}
		cuts, tiles, err := w.divide(es)
		if err != nil || len(cuts) == 0 {
			return w, err
		}
		if job.Kind == compaction.Fold {
			return w, w.fold(es, cuts, tiles)
		}
		return w, w.deltas(es, cuts, tiles)
	case compaction.Image:
		l := t.newImage(job.Rect.Keys, job.Rect.LSNs.Start)
		o := output{layer: l, tile: job.Rect, cost: job.Cost.Read}
		if l != nil {
			o.cost += l.Size
		}
		w.outputs = []output{o}
		return w, nil
	case compaction.Drop:
		w.outputs = []output{{tile: job.Rect}}
		return w, nil
	}
	return nil, fmt.Errorf("job %d (%s): it is not known how to do a %s", number, job.Reason, job.Kind)
}

// divide runs the job's cutter over entries and gives its rectangles, and of each what of the job's it answers for.
func (w *Work) divide(es []entry) (cuts, tiles []compaction.Rect, err error) {
	cuts = []compaction.Rect{w.Job.Rect}
	if w.Job.Cut != nil {
		cuts = w.t.cut(compaction.Distinct(w.t.view(), w.Job.Rect, w.Job.Cut()), es, w.Job.Kind == compaction.Retile)
	}
	if len(cuts) == 0 && w.Job.Kind == compaction.Fold {
		cuts = w.ofImages()
	}
	if tiles, err = compaction.Tile(w.Job.Rect, cuts); err != nil {
		return nil, nil, fmt.Errorf("job %d (%s): %w", w.number, w.Job.Reason, err)
	}
	if len(cuts) == 0 {
		w.outputs = []output{{tile: w.Job.Rect, folded: w.Job.Kind == compaction.Fold}}
	}
	return cuts, tiles, nil
}

// ofImages gives the rectangle of a fold that finds images and no records.
func (w *Work) ofImages() []compaction.Rect {
	r := compaction.Rect{LSNs: w.Job.Rect.LSNs}
	for _, l := range w.inputs {
		if keys := l.Keys.Intersect(w.Job.Rect.Keys); l.Image && !keys.Empty() {
			if r.Keys.Empty() {
				r.Keys = keys
			}
			if keys.Start.Less(r.Keys.Start) {
				r.Keys.Start = keys.Start
			}
			if r.Keys.End.Less(keys.End) {
				r.Keys.End = keys.End
			}
		}
	}
	if r.Keys.Empty() {
		return nil
	}
	return []compaction.Rect{r}
}

// deltas makes the outputs of a job that writes deltas.
func (w *Work) deltas(es []entry, cuts, tiles []compaction.Rect) error {
	n := 0
	for i, r := range cuts {
		part := w.t.within(es, r)
		n += len(part)
		o := output{tile: tiles[i]}
		if len(part) > 0 {
			o.layer = w.t.newDelta(r, part, deltaOverhead)
			o.cost = 2 * o.layer.Size
		}
		w.outputs = append(w.outputs, o)
	}
	if n != len(es) {
		return fmt.Errorf("job %d (%s): the cutter places %d of %d records", w.number, w.Job.Reason, n, len(es))
	}
	return nil
}
