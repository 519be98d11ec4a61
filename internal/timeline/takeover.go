package timeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// A timeline of a shard begins with layers of the shard that it was split from. They hold the keys of others too, and in
// remote storage they stay that shard's objects for as long as any index names them. Compaction rewrites some of them in the
// course of its work; the others are taken over: each is written anew, with the same rectangle, in the timeline's own
// generation, and with what its shard keeps alone.

// TakeOverReport says what was taken over.
type TakeOverReport struct {
	// Layers were written anew, Dropped had nothing of this shard's; Left are still the other shard's.
	Layers, Dropped, Left int
	// BytesIn and BytesOut are the sizes of the layers and of what was written of them.
	BytesIn, BytesOut int64
}

// Inherited lists the layers that are objects of a shard from which this one was split.
func (t *Timeline) Inherited() (out []layer.Desc) {
	if t.meta.Shard.Count == 0 || t.env.Remote == nil {
		return nil
	}
	own := shardBits(t.meta.Shard)
	for d := range t.view.Load().layers.All() {
		if r, ok := t.files.remote(d); ok && r.Shard != own && d.Generation != t.generation {
			out = append(out, d)
		}
	}
	return out
}

// TakeOver takes over layers that are inherited, at most so many; 0 is all of them. A crash leaves each as it was, or taken
// over.
func (t *Timeline) TakeOver(ctx context.Context, most int) (r TakeOverReport, err error) {
	if t.env.ReadOnly {
		return r, fmt.Errorf("timeline %s: %w", t.meta.Name, ErrReadOnly)
	}
	ds := t.Inherited()
	r.Left = len(ds)
	if most > 0 && len(ds) > most {
		ds = ds[:most]
	}
	err = t.whileOpen(ctx, func(ctx context.Context) error {
		for i := range ds {
			if err := t.takeOver(ctx, &ds[i], &r); err != nil {
				return fmt.Errorf("timeline %s: taking over layer %s: %w", t.meta.Name, ds[i].Name(), err)
			}
		}
		return nil
	})
	return r, err
}

// takeOver takes over one layer, unless it has gone meanwhile.
func (t *Timeline) takeOver(ctx context.Context, d *layer.Desc, r *TakeOverReport) error {
	if err := t.compact.turn.take(ctx); err != nil {
		return err
	}
	defer t.compact.turn.give()
	if err := t.settleSuspects(ctx); err != nil {
		return err
	}
	if err := t.env.lanes.take(ctx, compaction.PriorityDrop, d.Size); err != nil {
		return err
	}
	defer t.env.lanes.give()
	v, err := t.pinView()
	if err != nil {
		return err
	}
	defer v.release()
	if r.Left--; !names(v.layers, *d) {
		return nil
	}
	out, err := t.ownPart(ctx, d)
	if err == nil {
		err = t.replaceInherited(ctx, d, out)
	}
	if err != nil {
		r.Left++
		return err
	}
	r.BytesIn += d.Size
	if out.desc.Size == 0 {
		r.Dropped++
		return nil
	}
	r.Layers++
	r.BytesOut += out.desc.Size
	t.env.counters.takenOver.Add(1)
	t.env.counters.takenOverBytes.Add(out.desc.Size)
	return nil
}

// ownPart writes what a layer has of the shard's keys. An image layer is written even if that is nothing: it says that the
// keys in its range which it has not are not there.
func (t *Timeline) ownPart(ctx context.Context, d *layer.Desc) (out output, err error) {
	jobs := t.env.Shares.Jobs
	if err := jobs.Acquire(ctx, imageMemory); err != nil {
		return out, err
	}
	defer jobs.Release(imageMemory)
	t.env.pace.begin()
	defer t.env.pace.end()
	in, err := t.files.reader(ctx, d)
	if err != nil {
		return out, err
	}
	own := *d
	own.Generation = t.generation
	if slices.Contains(t.compact.doomed(), idOf(&own)) { // of another try
		return out, errNamesHeld
	}
	if d.Image {
		return t.ownImages(ctx, in, d)
	}
	return t.ownRecords(ctx, in, d)
}

func (t *Timeline) ownImages(ctx context.Context, in *layer.Reader, d *layer.Desc) (out output, err error) {
	w, err := layer.NewImageWriter(t.env.Disk, t.dir, t.id, d.Keys, d.LSNs.Start, t.generation, t.writerOptions())
	if err != nil {
		return out, err
	}
	paced := t.paced(ctx)
	err = in.IterateStored(t.env.inBackground(ctx), func(k page.Key, _ page.LSN, _ bool, s layer.Stored) error {
		if !t.meta.Shard.Keeps(k) {
			return nil
		}
		return errors.Join(w.AddStored(k, s), paced(len(s.Data)))
	})
	if err != nil {
		w.Abort()
		return out, layerError(err)
	}
	out.desc, err = w.Finish(ctx, d.Keys.End)
	return out, err
}

func (t *Timeline) ownRecords(ctx context.Context, in *layer.Reader, d *layer.Desc) (out output, err error) {
	w, err := layer.NewDeltaWriter(t.env.Disk, t.dir, t.id, d.Keys.Start, d.LSNs, t.generation, t.writerOptions())
	if err != nil {
		return out, err
	}
	paced := t.paced(ctx)
	err = in.Iterate(t.env.inBackground(ctx), func(k page.Key, lsn page.LSN, willInit bool, value []byte) error {
		if !t.meta.Shard.Keeps(k) {
			return nil
		}
		out.entries++
		return errors.Join(w.Add(k, lsn, willInit, value), paced(len(value)))
	})
	if err != nil || out.entries == 0 {
		w.Abort()
		return out, layerError(err)
	}
	if out.desc, err = w.Finish(ctx, d.Keys.End); err == nil {
		out.chains = append(out.chains, chainsOf(out.desc, w.Chains()))
	}
	return out, err
}

// paced keeps those who write values to the pace of background work.
func (t *Timeline) paced(ctx context.Context) func(bytes int) error {
	owed := 0
	return func(bytes int) error {
		if owed += bytes; owed < backgroundTransfer {
			return nil
		}
		n := owed
		owed = 0
		return t.env.pace.wait(ctx, n)
	}
}

// replaceInherited publishes what was written of a layer in its place.
func (t *Timeline) replaceInherited(ctx context.Context, d *layer.Desc, out output) error {
	outs := []output{out}
	if err := t.flusher.take(ctx); err != nil {
		return errors.Join(err, t.discardOutputs(outs))
	}
	defer t.flusher.give()
	if err := t.placeOutputs(outs); err != nil {
		return errors.Join(err, t.discardOutputs(outs))
	}
	e := manifest.Edit{Remove: []layer.Desc{*d}, Chains: out.chains}
	if out.desc.Size > 0 {
		e.Add = append(e.Add, out.desc)
		if keys := t.compact.moved[idOf(d)]; !keys.Empty() {
			own := out.desc
			own.Size = 0
			e.Moved = append(e.Moved, manifest.Moved{Layer: own, Keys: keys.Ranges()})
		}
	}
	return t.publishLayers(&e)
}

// takenAtOnce is how many layers a turn of the background takes over, so that compaction has its say again.
const takenAtOnce = 16

// takeOverNow is one turn of the background, of a timeline that has nothing to compact. It says whether there should be
// another soon.
func (t *Timeline) takeOverNow(ctx context.Context) (again bool) {
	if len(t.Inherited()) == 0 {
		return false
	}
	r, err := t.TakeOver(ctx, takenAtOnce)
	if err != nil && ctx.Err() == nil {
		t.env.Logger.Warn("layers of the shard that this one was split from stay as they are; it is tried again", "timeline", t.meta.Name, "err", err)
		return false
	}
	return r.Left > 0
}
