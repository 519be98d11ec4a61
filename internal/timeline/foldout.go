package timeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// foldOutput writes the layers of regions of the same keys: an image layer, and deltas one above the other.
type foldOutput struct {
	f        *folding
	keys     page.Range // that have entries
	said     page.Range // with those beside them
	todo     []region   // deltas that are not finished
	delt     *layer.DeltaWriter
	deltas   int64 // entries of delt
	img      *layer.ImageWriter
	images   int64
	imageEnd page.Key
	outs     []output // finished, and not published
	owed     int
}

// delta writes a version, into the region that its LSN belongs to.
func (o *foldOutput) delta(ctx context.Context, k page.Key, lsn page.LSN, willInit bool, value []byte) error {
	for len(o.todo) > 1 && lsn >= o.todo[0].rect.LSNs.End {
		if err := o.finishDelta(ctx); err != nil {
			return err
		}
	}
	if len(o.todo) == 0 || !o.todo[0].rect.LSNs.Contains(lsn) {
		return fmt.Errorf("no output is for %s at LSN %s", k.Describe(), lsn)
	}
	if o.delt == nil {
		rect, said := o.todo[0].rect, o.todo[0].said.Keys
		keys, err := o.f.name(rect.LSNs, false, rect.Keys, page.Range{Start: rect.Keys.Start, End: said.End}, page.Range{Start: said.Start, End: rect.Keys.End}, said)
		if err != nil {
			return err
		}
		o.todo[0].rect.Keys = keys
		w, err := layer.NewDeltaWriter(o.f.t.env.Disk, o.f.t.dir, o.f.t.id, keys.Start, rect.LSNs, o.f.t.generation, o.f.t.pacedOptions())
		if err != nil {
			return err
		}
		o.delt, o.deltas = w, 0
	}
	o.deltas++
	if err := o.wait(ctx, len(value)); err != nil {
		return err
	}
	return o.delt.Add(k, lsn, willInit, value)
}

// image writes a page into the image layer.
func (o *foldOutput) image(ctx context.Context, k page.Key, v []byte) error {
	if o.img == nil {
		low := o.f.low
		keys, err := o.f.name(page.LSNRange{Start: low, End: low + 1}, true, o.said, page.Range{Start: o.keys.Start, End: o.said.End}, page.Range{Start: o.said.Start, End: o.keys.End}, o.keys)
		if err != nil {
			return err
		}
		o.imageEnd = keys.End
		w, err := layer.NewImageWriter(o.f.t.env.Disk, o.f.t.dir, o.f.t.id, keys, low, o.f.t.generation, o.f.t.pacedOptions())
		if err != nil {
			return err
		}
		o.img = w
	}
	o.images++
	if err := o.wait(ctx, len(v)); err != nil {
		return err
	}
	return o.img.Add(k, v)
}

// wait keeps what is written to the pace of background work.
func (o *foldOutput) wait(ctx context.Context, bytes int) error {
	if o.owed += bytes; o.owed < backgroundTransfer {
		return nil
	}
	n := o.owed
	o.owed = 0
	return o.f.t.env.pace.wait(ctx, n)
}

// finish ends all layers and publishes them in one step: a key of which a part was published would be in two deltas at
// once.
func (o *foldOutput) finish(ctx context.Context) error {
	for len(o.todo) > 0 {
		if err := o.finishDelta(ctx); err != nil {
			return err
		}
	}
	if err := o.finishImage(ctx); err != nil {
		return err
	}
	outs := o.outs
	o.outs = nil // publishing deletes them if it fails
	return o.f.t.publishOutputs(ctx, o.f.r, outs, false)
}

// finishDelta ends the first region.
func (o *foldOutput) finishDelta(ctx context.Context) error {
	out := output{rect: o.todo[0].said, entries: o.deltas, folded: true}
	if o.delt != nil {
		d, err := o.delt.Finish(ctx, o.todo[0].rect.Keys.End)
		if err != nil {
			return err
		}
		out.chains = append(out.chains, chainsOf(d, o.delt.Chains()))
		o.delt, out.desc = nil, d
	}
	o.deltas, o.todo = 0, o.todo[1:]
	o.outs = append(o.outs, out)
	return nil
}

func (o *foldOutput) finishImage(ctx context.Context) error {
	if !o.f.images() {
		return nil
	}
	out := output{rect: compaction.Rect{Keys: o.said, LSNs: page.LSNRange{Start: o.f.r.job.Rect.LSNs.Start, End: o.f.low + 1}}, entries: o.images, folded: true}
	if o.img != nil {
		d, err := o.img.Finish(ctx, o.imageEnd)
		if err != nil {
			return err
		}
		o.img, out.desc = nil, d
	}
	o.outs = append(o.outs, out)
	return nil
}

// abort drops what has not been published.
func (o *foldOutput) abort() error {
	if o.delt != nil {
		o.delt.Abort()
	}
	if o.img != nil {
		o.img.Abort()
	}
	return o.f.t.discardOutputs(o.outs)
}

// name chooses the keys of a layer's file, by which it is called: those wanted, or, where another file has that name, some
// that reach over keys beside them where there is nothing.
func (f *folding) name(lsns page.LSNRange, image bool, wanted ...page.Range) (page.Range, error) {
	doomed := f.t.compact.doomed()
	for _, keys := range wanted {
		id := compaction.ID{Keys: keys, LSNs: lsns, Image: image, Generation: f.t.generation}
		taken := !image && keys == page.FullRange || slices.Contains(f.r.snap.Doomed, id) || slices.Contains(doomed, id)
		for i := range f.r.snap.Layers {
			taken = taken || f.r.snap.Layers[i].ID == id
		}
		if !taken {
			return keys, nil
		}
	}
	return page.Range{}, fmt.Errorf("%w: keys %s at LSNs %s", errNamesHeld, wanted[0], lsns)
}
