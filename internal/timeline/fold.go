package timeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// fold keeps of a job's history what reads still need (compaction.Retention): at the lowest LSN that is read one image
// layer, if nothing lies below, and deltas above it. It goes through each key's versions as a stream and redoes
// pages in pieces, so a history may be of any length.
func (t *Timeline) fold(ctx context.Context, r *jobRun) error {
	regions, err := t.cut(ctx, r)
	if err != nil {
		return err
	}
	f := &folding{t: t, r: r, low: lowestPoint(r.job.Fold)}
	if err := f.pinBelow(); err != nil {
		return err
	}
	defer f.below.release()
	f.findDead(ctx)
	groups := groupByKeys(regions)
	err = t.env.lanes.spread(ctx, len(groups), func(ctx context.Context, i int) error {
		return f.regions(ctx, groups[i])
	})
	if err != nil {
		return err
	}
	return t.publishOutputs(ctx, r, nil, true)
}

// lowestPoint gives the lowest LSN at which what is folded is read.
func lowestPoint(f *compaction.FoldSpec) page.LSN {
	if len(f.Retain) > 0 {
		return min(f.Retain[0], f.Horizon)
	}
	return f.Horizon
}

// folding is a Fold on its way. Parts of it run beside each other.
type folding struct {
	t     *Timeline
	r     *jobRun
	low   page.LSN // where the images are
	below *lineage // what lies below the job: of older layers and ancestors
	dead  []deadAt // by LSN
}

// pinBelow pins what pages may begin with.
func (f *folding) pinBelow() (err error) {
	f.below, err = f.t.pin(f.belowLSN())
	return err
}

// pageBelow reads what a page begins with.
func (f *folding) pageBelow(ctx context.Context, k page.Key) (b []byte, exists bool, err error) {
	b, err = f.below.get(f.t.env.inBackground(ctx), k, f.belowLSN())
	if errors.Is(err, page.ErrNotFound) {
		return nil, false, nil
	}
	return b, err == nil, err
}

// belowLSN is the last LSN below the job.
func (f *folding) belowLSN() page.LSN { return max(f.r.job.Rect.LSNs.Start, 1) - 1 }

// images reports whether there is an image layer: not where facts below show through.
func (f *folding) images() bool { return !f.r.job.Fold.Below }

// regions folds regions of the same keys. A key whose page cannot be rebuilt is left out, and its history stays where it
// is.
func (f *folding) regions(ctx context.Context, regions []region) error {
	for {
		err := f.write(ctx, regions)
		var broken *brokenKey
		if !errors.As(err, &broken) || ctx.Err() != nil {
			return err
		}
		f.t.env.Logger.Warn("a page that cannot be rebuilt is not folded; its history stays", "timeline", f.t.meta.Name, "err", broken)
		before, after := without(regions, broken.key)
		if before != nil {
			if err := f.regions(ctx, before); err != nil {
				return err
			}
		}
		if after == nil {
			return nil
		}
		regions = after
	}
}

// without gives regions as they are before a key and behind it.
func without(regions []region, k page.Key) (before, after []region) {
	clip := func(within page.Range) (out []region) {
		for _, g := range regions {
			g.rect.Keys, g.said.Keys = g.rect.Keys.Intersect(within), g.said.Keys.Intersect(within)
			if g.said.Keys.Empty() {
				return nil
			}
			out = append(out, g)
		}
		return out
	}
	return clip(page.Range{Start: page.MinKey, End: k}), clip(page.Range{Start: k.Next(), End: page.MaxKey})
}

// brokenKey says that a key's page cannot be rebuilt.
type brokenKey struct {
	key page.Key
	err error
}

// Error names the key.
func (b *brokenKey) Error() string { return fmt.Sprintf("%s: %v", b.key.Describe(), b.err) }

// Unwrap gives the reason.
func (b *brokenKey) Unwrap() error { return b.err }

// write folds regions of the same keys into new layers.
func (f *folding) write(ctx context.Context, regions []region) (err error) {
	out := &foldOutput{f: f, keys: regions[0].rect.Keys, said: regions[0].said.Keys}
	for _, g := range regions {
		if f.images() { // the image speaks for all up to its LSN
			g.rect.LSNs.Start, g.said.LSNs.Start = max(g.rect.LSNs.Start, f.low+1), max(g.said.LSNs.Start, f.low+1)
		}
		if !g.said.LSNs.Empty() {
			out.todo = append(out.todo, g)
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.abort())
		}
	}()
	if keys := regions[0].rect.Keys; !keys.Empty() {
		for _, s := range f.r.spans(keys) {
			if err := f.span(ctx, s, out); err != nil {
				return err
			}
		}
	}
	return out.finish(ctx)
}

// span folds one stretch of keys.
func (f *folding) span(ctx context.Context, s keySpan, out *foldOutput) error {
	k := newFoldKey(f, out)
	var images []*layer.Desc
	for _, n := range s.inputs {
		if d := &f.r.descs[n]; d.Image {
			images = append(images, d)
		}
	}
	slices.SortFunc(images, func(a, b *layer.Desc) int { return cmp.Compare(a.LSNs.Start, b.LSNs.Start) })
	err := f.t.mergeSpan(ctx, f.r, s, func(m *layer.Merged) error {
		if !k.any || m.Key != k.key {
			if err := k.finish(ctx); err != nil {
				return err
			}
			k.begin(m.Key, images)
		}
		return k.add(ctx, m)
	})
	if err != nil {
		return err
	}
	return k.finish(ctx)
}
