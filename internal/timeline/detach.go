package timeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// A branch is detached from its ancestor in two steps: BeginDetach brings it what it needs of the ancestor's layers, while
// both go on as before; Commit makes these its own and the ancestor no more its ancestor, in one edit of the manifest and
// one view, and in one index in remote storage. docs/design/detach.md says what follows for others.

var (
	// ErrNoAncestor says that a timeline is no branch, and never was.
	ErrNoAncestor = errors.New("timeline has no ancestor")
	// ErrTooManyAncestors says that what a timeline branches from is a branch itself.
	ErrTooManyAncestors = errors.New("timeline's ancestor is a branch itself")
	// ErrUnsettled says that a detachment from an ancestor has not ended.
	ErrUnsettled = errors.New("a detachment from an ancestor has not ended")
)

// adoptParallel is how many layers are copied at once.
const adoptParallel = 16

// heldWorks is for how long the state stays that work reads which has begun before a detachment.
const heldWorks = 10 * time.Minute

// DetachProgress says how far BeginDetach and Commit are.
type DetachProgress struct {
	// Layers are to be adopted, Done of them are here; Copied bytes were copied in remote storage, Rewritten ones written.
	Layers, Done      int
	Copied, Rewritten int64
}

// Detachment is a branch on its way to be without its ancestor.
type Detachment struct {
	t, a   *Timeline
	from   *descent
	below  *lineage // a, pinned, as it is at the branch LSN
	state  manifest.State
	remote map[compaction.ID]manifest.Remote
	moved  map[compaction.ID]page.Set
	chains map[compaction.ID]page.Chains
	late   []layer.Desc // images at the branch LSN, where the branch may make some itself
	outs   []adopted
	tell   func(DetachProgress)
	done   bool // outs are the branch's, or may be after a crash

	layers            int
	ready             atomic.Int64
	copied, rewritten atomic.Int64
}

// adopted is a layer that was made for the branch.
type adopted struct {
	output
	remote *manifest.Remote // nil if it is to be uploaded
	moved  page.Set
	away   bool // its file is not here
}

// BeginDetach brings a branch what it needs of its ancestor's layers. End must be called.
func (t *Timeline) BeginDetach(ctx context.Context, tell func(DetachProgress)) (d *Detachment, err error) {
	d = &Detachment{t: t, from: t.from(), tell: tell}
	switch d.a = d.from.ancestor; {
	case t.env.ReadOnly:
		return nil, fmt.Errorf("timeline %s: %w", t.meta.Name, ErrReadOnly)
	case d.a == nil:
		return nil, fmt.Errorf("timeline %s: %w", t.meta.Name, ErrNoAncestor)
	case d.a.ancestor() != nil:
		return nil, fmt.Errorf("timeline %s branches from %s: %w", t.meta.Name, d.a.meta.Name, ErrTooManyAncestors)
	}
	for _, x := range []*Timeline{t, d.a} {
		if err := x.checkSealed(); err != nil {
			return nil, err
		}
	}
	// Deletions of what an attempt before has left are then in order, so that Keep finds them.
	if err := t.WaitUploads(ctx); err != nil {
		return nil, err
	}
	err = t.whileOpen(ctx, d.bring)
	if err != nil {
		d.End()
		return nil, fmt.Errorf("timeline %s: detaching from %s: %w", t.meta.Name, d.a.meta.Name, err)
	}
	return d, nil
}

// bring makes all layers that nobody else can make meanwhile.
func (d *Detachment) bring(ctx context.Context) error {
	if err := d.pin(ctx); err != nil {
		return err
	}
	if err := d.t.forgetAttempts(ctx); err != nil {
		return err
	}
	ls := slices.DeleteFunc(slices.Clone(d.state.Layers), func(l layer.Desc) bool { return l.LSNs.Start > d.from.lsn })
	d.layers = len(ls)
	var whole []layer.Desc
	for _, l := range ls {
		switch {
		case l.Image && l.LSNs.Start == d.from.lsn:
			d.late = append(d.late, l)
		case l.LSNs.End > d.from.lsn+1:
			if err := d.adopt(ctx, l, d.prefix); err != nil {
				return err
			}
		default:
			whole = append(whole, l)
		}
	}
	return d.shareAll(ctx, whole)
}

// pin notes what the ancestor has: what its manifest says is what its view shows.
func (d *Detachment) pin(ctx context.Context) (err error) {
	if err := d.a.flusher.take(ctx); err != nil {
		return err
	}
	defer d.a.flusher.give()
	if d.below, err = d.a.pin(d.from.lsn); err != nil {
		return err
	}
	d.state = d.a.log.State()
	d.remote, d.moved, d.chains = map[compaction.ID]manifest.Remote{}, map[compaction.ID]page.Set{}, map[compaction.ID]page.Chains{}
	for _, r := range d.state.Remote {
		if d.t.env.Remote != nil {
			d.remote[idOf(&r.Layer)] = r
		}
	}
	for _, m := range d.state.Moved {
		d.moved[idOf(&m.Layer)] = page.NewSet(m.Keys...)
	}
	for _, c := range d.state.Chains {
		d.chains[idOf(&c.Layer)] = c.Chains
	}
	return nil
}

// forgetAttempts returns once the names are free of what an attempt before has made that failed at its end.
func (t *Timeline) forgetAttempts(ctx context.Context) error {
	if err := t.compact.turn.take(ctx); err != nil {
		return err
	}
	defer t.compact.turn.give()
	if err := t.settleSuspects(ctx); err != nil {
		return err
	}
	joint := t.from().lsn
	old := func(id compaction.ID) bool { return id.LSNs.Start <= joint }
	const look = 10 * time.Millisecond
	for slices.ContainsFunc(t.compact.doomed(), old) {
		t.removeDead()
		if err := clock.Sleep(ctx, look); err != nil {
			return fmt.Errorf("%w: %w", errNamesHeld, err)
		}
	}
	return nil
}

// shareAll adopts layers as they are.
func (d *Detachment) shareAll(ctx context.Context, ls []layer.Desc) error {
	outs := make([]adopted, len(ls))
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(adoptParallel)
	for i, l := range ls {
		g.Go(func() (err error) {
			outs[i], err = d.share(inner, l)
			d.told(err)
			return wrapLayer(&l, err)
		})
	}
	err := g.Wait()
	d.outs = append(d.outs, outs...)
	return err
}

// adopt makes one layer.
func (d *Detachment) adopt(ctx context.Context, l layer.Desc, how func(ctx context.Context, l layer.Desc) (adopted, error)) error {
	out, err := how(ctx, l)
	d.outs = append(d.outs, out)
	d.told(err)
	return wrapLayer(&l, err)
}

func wrapLayer(l *layer.Desc, err error) error {
	if err != nil {
		err = fmt.Errorf("layer %s: %w", l.FileName(), err)
	}
	return err
}

func (d *Detachment) told(err error) {
	if err != nil {
		return
	}
	n := int(d.ready.Add(1))
	if d.tell != nil {
		d.tell(DetachProgress{Layers: d.layers, Done: n, Copied: d.copied.Load(), Rewritten: d.rewritten.Load()})
	}
}

// share adopts a layer as it is: with another name of its file where that is here, and a copy of its object.
func (d *Detachment) share(ctx context.Context, l layer.Desc) (out adopted, err error) {
	t := d.t
	out.desc, out.moved = l, d.moved[idOf(&l)]

	r, known := d.remote[idOf(&l)]
	if c, ok := d.chains[idOf(&l)]; ok {
		out.chains = append(out.chains, chainsOf(out.desc, c))
	}
	if err := d.removeLeft(l); err != nil {
		return out, err
	}
	err = virtualfile.Link(t.env.FS, filepath.Join(d.a.dir, l.FileName()), filepath.Join(t.dir, l.FileName()))
	if out.away = errors.Is(err, fs.ErrNotExist) && known; err != nil && !out.away {
		return out, err
	}
	if !known {
		return out, nil
	}
	own := manifest.Remote{Layer: out.desc, Sum: r.Sum, Shard: shardBits(t.meta.Shard)}
	own.Layer.Size = 0
	out.remote = &own
	if err := t.env.uploads.deletions.Keep(ctx, t.uploads.place(), upload.ObjectOf(&out.desc)); err != nil {
		return out, err
	}
	if err := t.env.Remote.Copy(ctx, remoteKey(d.a.id, &r), remoteKey(t.id, &own)); err != nil {
		return out, err
	}
	d.copied.Add(l.Size)
	return out, nil
}

// removeLeft removes the file of a layer that an attempt before has left. Nobody reads it: the names of those that were ever named are free.
func (d *Detachment) removeLeft(l layer.Desc) error {
	if slices.Contains(d.t.compact.doomed(), idOf(&l)) {
		return errNamesHeld
	}
	if err := d.t.env.Disk.Remove(filepath.Join(d.t.dir, l.FileName())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// own is what is made anew with the bounds of a layer.
func (d *Detachment) own(l layer.Desc) layer.Desc {
	l.Generation, l.Size = d.t.generation, 0
	return l
}

// prefix writes what a delta has up to the branch LSN.
func (d *Detachment) prefix(ctx context.Context, l layer.Desc) (out adopted, err error) {
	t, moved := d.t, d.moved[idOf(&l)]
	own := d.own(l)
	own.LSNs.End = d.from.lsn + 1
	if err := d.removeLeft(own); err != nil {
		return out, err
	}
	in, done, err := d.input(ctx, &l)
	if err != nil {
		return out, err
	}
	defer done()
	w, err := layer.NewDeltaWriter(t.env.Disk, t.dir, t.id, l.Keys.Start, own.LSNs, t.generation, t.writerOptions())
	if err != nil {
		return out, err
	}
	paced := t.paced(ctx)
	err = in.Iterate(t.env.inBackground(ctx), func(k page.Key, lsn page.LSN, willInit bool, value []byte) error {
		if lsn > d.from.lsn || moved.Contains(k) || !t.meta.Shard.Keeps(k) {
			return nil
		}
		out.entries++
		return errors.Join(w.Add(k, lsn, willInit, value), paced(len(value)))
	})
	if err != nil || out.entries == 0 {
		w.Abort()
		return out, layerError(err)
	}
	if out.desc, err = w.Finish(ctx, l.Keys.End); err == nil {
		out.chains = append(out.chains, chainsOf(out.desc, w.Chains()))
		d.rewritten.Add(out.desc.Size)
	}
	return out, err
}

// input opens a layer of the ancestor for a job, which done ends.
func (d *Detachment) input(ctx context.Context, l *layer.Desc) (in *layer.Reader, done func(), err error) {
	env := d.t.env
	if err := env.Shares.Jobs.Acquire(ctx, imageMemory); err != nil {
		return nil, nil, err
	}
	if in, err = d.a.files.reader(ctx, l); err != nil {
		env.Shares.Jobs.Release(imageMemory)
		return nil, nil, err
	}
	env.pace.begin()
	return in, func() {
		env.pace.end()
		env.Shares.Jobs.Release(imageMemory)
	}, nil
}

// image adopts an image layer of the branch LSN. One that may have keys that branches do not inherit is written without them.
func (d *Detachment) image(ctx context.Context, l layer.Desc) (out adopted, err error) {
	if !l.Keys.Overlaps(page.NotInherited) {
		return d.share(ctx, l)
	}
	if err := d.removeLeft(d.own(l)); err != nil {
		return out, err
	}
	t := d.t
	in, done, err := d.input(ctx, &l)
	if err != nil {
		return out, err
	}
	defer done()
	w, err := layer.NewImageWriter(t.env.Disk, t.dir, t.id, l.Keys, l.LSNs.Start, t.generation, t.writerOptions())
	if err != nil {
		return out, err
	}
	paced := t.paced(ctx)
	err = in.IterateStored(t.env.inBackground(ctx), func(k page.Key, _ page.LSN, _ bool, s layer.Stored) error {
		if page.NotInherited.Contains(k) || !t.meta.Shard.Keeps(k) {
			return nil
		}
		return errors.Join(w.AddStored(k, s), paced(len(s.Data)))
	})
	if err != nil {
		w.Abort()
		return out, layerError(err)
	}
	out.desc, err = w.Finish(ctx, l.Keys.End)
	d.rewritten.Add(out.desc.Size)
	return out, err
}

// tombstones writes an image layer that says of all keys which the branch does not inherit that they are not there. There is
// none where there are no such keys.
func (d *Detachment) tombstones(ctx context.Context) (out adopted, err error) {
	t := d.t
	var w *layer.ImageWriter
	raw := *d.below.descents[0] // of keys that the ancestor itself has not inherited its layers may tell all the same
	raw.lineage = manifest.Lineage{}
	raw.lsn = 0
	d.below.descents[0] = &raw
	err = d.below.getVectored(ctx, page.NewSet(page.NotInherited), d.from.lsn, func(k page.Key, _ []byte, _ error) (err error) {
		if w == nil {
			l := layer.Desc{Keys: page.NotInherited, LSNs: page.LSNRange{Start: d.from.lsn, End: d.from.lsn + 1}, Image: true}
			if err := d.removeLeft(d.own(l)); err != nil {
				return err
			}
			if w, err = layer.NewImageWriter(t.env.Disk, t.dir, t.id, page.NotInherited, d.from.lsn, t.generation, t.writerOptions()); err != nil {
				return err
			}
		}
		return w.Add(k, nil)
	})
	if w == nil || err != nil {
		if w != nil {
			w.Abort()
		}
		return out, err
	}
	out.desc, err = w.Finish(ctx, page.NotInherited.End)
	d.rewritten.Add(out.desc.Size)
	return out, err
}

// End lets go of what the detachment holds. What was made goes, unless it is the branch's by now.
func (d *Detachment) End() {
	if d.below != nil {
		d.below.release()
		d.below = nil
	}
	d.discard()
}

func (d *Detachment) discard() {
	if d.done {
		return
	}
	var objects []upload.Object
	for i := range d.outs {
		o := &d.outs[i]
		if o.desc.Size == 0 {
			continue
		}
		if err := d.t.env.Disk.Remove(filepath.Join(d.t.dir, o.desc.FileName())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.t.env.Logger.Warn("cannot remove a layer that was to be adopted; the next start does", "timeline", d.t.meta.Name, "layer", o.desc.FileName(), "err", err)
		}
		if o.remote != nil {
			objects = append(objects, upload.ObjectOf(&o.desc))
		}
	}
	if q := d.t.uploads.get(); q != nil && len(objects) > 0 {
		q.Delete(objects...)
	}
	d.outs = nil
}
