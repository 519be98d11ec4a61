package timeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// flushMemory is what one flush holds for the file it writes: the writer's buffers and the sums of what is in them. With
// what the walk through the layer needs it is taken from the share of jobs, which so bounds what flushes cost the
// process; what the index of a new file needs is charged as it grows.
const flushMemory = 4 << 20

// writeDeltas writes a frozen layer into files: one, an L0, or as many as the strategy wants and there are values for. After
// an error none of them is left.
func (t *Timeline) writeDeltas(ctx context.Context, f *frozen) ([]layer.Desc, []manifest.Chains, error) {
	jobs := t.env.Shares.Jobs
	memory := flushMemory + f.mem.WalkMemory()
	if err := jobs.Acquire(ctx, memory); err != nil {
		return nil, nil, err
	}
	defer jobs.Release(memory)
	if f.rects == nil {
		rects, err := t.cutFlush(ctx, f)
		if err != nil {
			return nil, nil, err
		}
		f.rects = rects
	}
	w := flushWriter{t: t, rects: f.rects, chain: flushChain{chain: newChain(t, f.records)}}
	w.chain.streams, w.chain.passOver = true, func() { w.w.PassOver() }
	err := w.clear()
	if err == nil {
		err = w.write(ctx, f)
	}
	if err != nil {
		return nil, nil, errors.Join(err, w.abort())
	}
	return w.done, w.chains, nil
}

// cutFlush asks the strategy into which deltas a frozen layer goes. What it says has no say in whether memory can be written: where
// it breaks the rules there is one L0, and a warning.
func (t *Timeline) cutFlush(ctx context.Context, f *frozen) ([]compaction.Rect, error) {
	whole := []compaction.Rect{{Keys: page.FullRange, LSNs: f.lsns}}
	s, err := t.strategy()
	if err != nil {
		return whole, nil // nobody compacts
	}
	flusher, ok := s.(compaction.Flusher)
	if !ok {
		return whole, nil
	}
	spec := flusher.Flush(t.flushSnapshot(), f.lsns)
	if f.records = spec.MaxRecords; spec.Cut == nil {
		return whole, nil
	}
	var rects []compaction.Rect
	emit := func(r compaction.Rect) { rects = append(rects, r) }
	cutter := spec.Cut()
	err = f.mem.Sizes(ctx, func(k page.Key, lsn page.LSN, size int) error {
		cutter.Add(compaction.Entry{Key: k, LSN: lsn, Size: int64(size)}, emit)
		return nil
	})
	if err != nil {
		return nil, err
	}
	cutter.Finish(emit)
	if err := checkFlush(rects, f.lsns); err != nil {
		t.env.Logger.Warn("a flush cannot be divided as the strategy wants it; one L0 is written", "timeline", t.meta.Name,
			"strategy", s.Name(), "err", err)
		return whole, nil
	}
	return rects, nil
}

// checkFlush says why rectangles do not tile what is flushed.
func checkFlush(rects []compaction.Rect, lsns page.LSNRange) error {
	from := page.MinKey
	for _, r := range rects {
		if r.Keys.Start != from || r.Keys.Empty() || r.LSNs != lsns {
			return fmt.Errorf("a flush of %s-%s is cut at %s, after keys up to %s", lsns.Start, lsns.End, r, from)
		}
		from = r.Keys.End
	}
	if from != page.MaxKey {
		return fmt.Errorf("a flush of %s-%s ends at key %s", lsns.Start, lsns.End, from)
	}
	return nil
}

// flushSnapshot is what a strategy may look at for a flush. The keys that exist are those of the last plan, none before there
// was one. The caller has the flusher's turn, so that layers stay as they are.
func (t *Timeline) flushSnapshot() *compaction.Snapshot {
	s, _ := t.layersSnapshot(t.view.Load())
	if live := t.plans.live.Load(); live != nil {
		s.Live, s.LiveLSN = live.keys, live.lsn
	}
	return s
}

// flushWriter writes values, in order, into rectangles that tile them.
type flushWriter struct {
	t     *Timeline
	rects []compaction.Rect
	at    int                // of rects: where the next value goes, or behind it
	w     *layer.DeltaWriter // of rects[at]; nil before its first value
	chain flushChain
	done  []layer.Desc
	// chains are those of done.
	chains []manifest.Chains
}

// flushChain puts images between the records that are flushed. A flush does not wait for remote storage: once a page
// could not be read in time, no more are.
type flushChain struct {
	chain
	gaveUp bool
}

// flushRead is how long a flush waits for a page of which a part may have to be fetched.
const flushRead = 5 * time.Second

func (c *flushChain) next(ctx context.Context, m *layer.Merged) ([]byte, bool, error) {
	if c.limit == 0 || c.gaveUp {
		return m.Value, m.WillInit, nil
	}
	bounded, cancel := ctx, func() {}
	if c.n == c.limit && m.Key == c.key && !c.follows && c.t.files.absent.Load() > 0 {
		bounded, cancel = context.WithTimeout(ctx, flushRead)
	}
	defer cancel()
	value, willInit, err := c.chain.next(bounded, m)
	if err != nil && ctx.Err() == nil {
		c.gaveUp = true
		return m.Value, m.WillInit, nil
	}
	return value, willInit, err
}

// clear removes what a former attempt may have left; no manifest can name it yet.
func (o *flushWriter) clear() error {
	for _, r := range o.rects {
		d := layer.Desc{Keys: r.Keys, LSNs: r.LSNs, Generation: o.t.generation}
		if err := o.t.removeFile(&d); err != nil {
			return err
		}
	}
	return nil
}

// removeFile deletes a layer's file if it is there.
func (t *Timeline) removeFile(d *layer.Desc) error {
	err := t.env.Disk.Remove(filepath.Join(t.dir, d.FileName()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (o *flushWriter) write(ctx context.Context, f *frozen) error {
	if len(o.rects) == 1 && o.chain.limit == 0 {
		if err := o.begin(); err != nil {
			return err
		}
		if err := f.mem.AppendTo(ctx, o.w); err != nil {
			return layerError(err)
		}
		return o.finish(ctx)
	}
	err := f.mem.Iterate(ctx, func(k page.Key, lsn page.LSN, willInit bool, value []byte) error {
		for !k.Less(o.rects[o.at].Keys.End) {
			if err := o.finish(ctx); err != nil {
				return err
			}
			o.at++
		}
		if o.w == nil {
			if err := o.begin(); err != nil {
				return err
			}
		}
		m := layer.Merged{Key: k, LSN: lsn, WillInit: willInit, Value: value}
		v, fresh, err := o.chain.next(ctx, &m)
		if err != nil {
			return err
		}
		return o.w.Add(k, lsn, fresh, v)
	})
	if err != nil {
		return layerError(err)
	}
	return o.finish(ctx)
}

// begin opens the file of the present rectangle.
func (o *flushWriter) begin() (err error) {
	t, r := o.t, o.rects[o.at]
	o.w, err = layer.NewDeltaWriter(t.env.Disk, t.dir, t.id, r.Keys.Start, r.LSNs, t.generation,
		layer.WriterOptions{Unchecked: t.env.Unchecked, Budget: t.env.Shares.Jobs})
	return err
}

// finish ends the file of the present rectangle, if it has begun.
func (o *flushWriter) finish(ctx context.Context) error {
	if o.w == nil {
		return nil
	}
	d, err := o.w.Finish(ctx, o.rects[o.at].Keys.End)
	if err != nil {
		return err
	}
	o.chains = append(o.chains, chainsOf(d, o.w.Chains()))
	o.w, o.done = nil, append(o.done, d)
	return nil
}

// abort removes what has been written. What stays for want of luck is removed by the next attempt, or the next start.
func (o *flushWriter) abort() error {
	if o.w != nil {
		o.w.Abort()
	}
	var errs []error
	for i := range o.done {
		errs = append(errs, o.t.removeFile(&o.done[i]))
	}
	return errors.Join(errs...)
}
