package timeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/layer"
)

// retile writes the job's outputs, and publishes each as it is done. Regions are written side by side as long as
// the store lets them; those of one key follow each other in one merge.
func (t *Timeline) retile(ctx context.Context, r *jobRun) error {
	regions, err := t.cut(ctx, r)
	if err != nil {
		return err
	}
	groups := groupByKeys(regions)
	err = t.env.lanes.spread(ctx, len(groups), func(ctx context.Context, i int) error {
		return t.writeRegions(ctx, r, groups[i])
	})
	if err != nil {
		return err
	}
	return t.publishOutputs(ctx, r, nil, true)
}

// groupByKeys puts the regions of one key together.
func groupByKeys(regions []region) (out [][]region) {
	for len(regions) > 0 {
		n := 1
		for n < len(regions) && regions[n].said.Keys == regions[0].said.Keys {
			n++
		}
		out, regions = append(out, regions[:n]), regions[n:]
	}
	return out
}

// deltas writes regions one after the other. They have the same keys, and ascend in their LSNs.
type deltas struct {
	t     *Timeline
	r     *jobRun
	todo  []region
	w     *layer.DeltaWriter // of todo[0]; nil before its first entry
	n     int64              // entries of w
	owed  int                // bytes of values that the pace has not been told of
	chain chain
	done  []output // written, not published
}

// writeRegions writes regions of the same keys and publishes them in one step: a key of which a part was published would be
// in two deltas at once.
func (t *Timeline) writeRegions(ctx context.Context, r *jobRun, regions []region) (err error) {
	out := &deltas{t: t, r: r, todo: regions, chain: newChain(t, r.job.MaxRecords)}
	out.chain.passOver = func() { out.w.PassOver() }
	defer func() {
		if err != nil {
			err = errors.Join(err, out.abort())
		}
	}()
	if !regions[0].rect.Keys.Empty() {
		for _, s := range r.spans(regions[0].said.Keys) {
			out.chain.streams = out.chain.limit > 0 && r.streams(s)
			if err := t.mergeSpan(ctx, r, s, func(m *layer.Merged) error { return out.add(ctx, m) }); err != nil {
				return err
			}
		}
	}
	for len(out.todo) > 0 {
		if err := out.finish(ctx); err != nil {
			return err
		}
	}
	done := out.done
	out.done = nil // publishing deletes them if it fails
	return t.publishOutputs(ctx, r, done, false)
}

// add writes one entry, into the region that its LSN belongs to.
func (o *deltas) add(ctx context.Context, m *layer.Merged) error {
	for len(o.todo) > 1 && m.LSN >= o.todo[0].rect.LSNs.End {
		if err := o.finish(ctx); err != nil {
			return err
		}
	}
	rect := o.todo[0].rect
	if !rect.LSNs.Contains(m.LSN) {
		return fmt.Errorf("the cutter leaves out %s at LSN %s", m.Key.Describe(), m.LSN)
	}
	if o.w == nil {
		w, err := layer.NewDeltaWriter(o.t.env.Disk, o.t.dir, o.t.id, rect.Keys.Start, rect.LSNs, o.t.generation, o.t.pacedOptions())
		if err != nil {
			return err
		}
		o.w, o.n = w, 0
	}
	value, willInit, err := o.chain.next(ctx, m)
	if err != nil {
		return err
	}
	o.n++
	if err := o.wait(ctx, len(value)); err != nil {
		return err
	}
	return o.w.Add(m.Key, m.LSN, willInit, value)
}

// wait keeps what is written to the pace of background work.
func (o *deltas) wait(ctx context.Context, bytes int) error {
	if o.owed += bytes; o.owed < backgroundTransfer {
		return nil
	}
	n := o.owed
	o.owed = 0
	return o.t.env.pace.wait(ctx, n)
}

// finish ends the first region.
func (o *deltas) finish(ctx context.Context) error {
	out := output{rect: o.todo[0].said, entries: o.n}
	if o.w != nil {
		d, err := o.w.Finish(ctx, o.todo[0].rect.Keys.End)
		if err != nil {
			return err
		}
		out.chains = append(out.chains, chainsOf(d, o.w.Chains()))
		o.w, out.desc = nil, d
	}
	o.n, o.todo, o.done = 0, o.todo[1:], append(o.done, out)
	return nil
}

// abort deletes what has not been published.
func (o *deltas) abort() error {
	if o.w != nil {
		o.w.Abort()
		o.w = nil
	}
	return o.t.discardOutputs(o.done)
}

// writerOptions are those of the layers that jobs write: in small pieces while there are reads, otherwise in those that
// are fastest, which is half as fast again.
func (t *Timeline) writerOptions() layer.WriterOptions {
	o := layer.WriterOptions{Unchecked: t.env.Unchecked, Budget: t.env.Shares.Jobs, Compression: t.env.ImageCompression}
	if t.env.pace.gentle() {
		o.Transfer = backgroundTransfer
	}
	return o
}

// pacedOptions are writerOptions at the pace of background work. It is told of values as they are added.
func (t *Timeline) pacedOptions() layer.WriterOptions {
	o := t.writerOptions()
	o.Pace = t.env.pace.wait
	return o
}

// inputBytes gives the size of a job's inputs.
func (r *jobRun) inputBytes() (n int64) {
	for _, i := range r.job.Inputs {
		n += r.snap.Layers[i].Size
	}
	return n
}
