package timeline

import (
	"context"
	"runtime"

	"github.com/stratapg/strata/layer"
)

// mergeSpan gives what the inputs hold of a span and of the job's LSNs, in order, each version once.
func (t *Timeline) mergeSpan(ctx context.Context, r *jobRun, s keySpan, fn func(m *layer.Merged) error) error {
	return t.eachOfSpan(ctx, r, s, layer.MergeOptions{}, fn)
}

// eachPlace is mergeSpan over indexes alone: it tells sizes, and no values.
func (t *Timeline) eachPlace(ctx context.Context, r *jobRun, s keySpan, fn func(m *layer.Merged) error) error {
	return t.eachOfSpan(ctx, r, s, layer.MergeOptions{Places: true}, fn)
}

// yieldEvery is how many batches of a merge are worked on before others get the processor: some 50 µs, much less than a
// short read takes.
const yieldEvery = 4

func (t *Timeline) eachOfSpan(ctx context.Context, r *jobRun, s keySpan, o layer.MergeOptions, fn func(m *layer.Merged) error) error {
	readers := make([]*layer.Reader, len(s.inputs))
	for i, n := range s.inputs {
		var err error
		if readers[i], err = t.files.reader(ctx, &r.descs[n]); err != nil {
			return err
		}
	}
	o.Keys, o.Memory, o.Budget = s.keys, t.env.mergeMemory(), t.env.Shares.Jobs
	merge, err := layer.OpenMerge(t.env.inBackground(ctx), readers, o)
	if err != nil {
		return err
	}
	defer merge.Close()
	lsns, shard := r.job.Rect.LSNs, t.meta.Shard
	for n := 1; ; n++ {
		some, err := merge.NextBatch(ctx)
		if err != nil {
			return layerError(err)
		}
		if len(some) == 0 {
			return nil
		}
		read := 0
		for i := range some {
			m := &some[i]
			read += len(m.Value)
			if !lsns.Contains(m.LSN) || !shard.Keeps(m.Key) {
				continue
			}
			if err := fn(m); err != nil {
				return err
			}
		}
		r.progress.read(read)
		if n%yieldEvery == 0 {
			runtime.Gosched()
		}
	}
}
