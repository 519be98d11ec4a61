package timeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// imageMemory is what an image job may hold beside what its reads do, which have a share of their own: the writer's
// buffers, and pages on their way through compression.
const imageMemory = 16 << 20

// image writes the values of all live keys of the job's rectangle, as every read gives them. Where a page cannot be
// rebuilt there is no image: an image layer ends before its key, and another begins behind it.
func (t *Timeline) image(ctx context.Context, r *jobRun) error {
	lsn := r.job.Rect.LSNs.Start
	keys, err := t.imageKeys(ctx, r.job.Rect.Keys, lsn)
	if err != nil {
		return err
	}
	w := &images{t: t, r: r, from: r.job.Rect.Keys.Start}
	if err := w.write(ctx, keys, lsn); err != nil {
		w.abort()
		return errors.Join(err, t.discardOutputs(w.outs))
	}
	if len(w.broken) > 0 {
		t.env.Logger.Warn("pages that cannot be rebuilt have no image; what they are made of stays", "timeline", t.meta.Name,
			"lsn", lsn.String(), "pages", len(w.broken), "first", w.broken[0])
	}
	return t.publishOutputs(ctx, r, w.outs, true)
}

// fewPages are so few that reading them all is cheaper than finding out which exist.
const fewPages = 4096

// imageKeys gives the keys to be read for an image: those that exist, and metadata.
func (t *Timeline) imageKeys(ctx context.Context, keys page.Range, lsn page.LSN) (page.Set, error) {
	live := &t.compact.live
	if compaction.Pages(keys) <= fewPages || live.lsn == lsn && !live.exact {
		return page.NewSet(keys), nil
	}
	all := live.keys
	if live.lsn != lsn {
		found, exact, err := t.compact.newest.at(ctx, t, lsn)
		if err != nil {
			return page.Set{}, err
		}
		if !exact {
			return page.NewSet(keys), nil
		}
		all = found
	}
	return all.Union(page.NewSet(compaction.SparseKeys)).Intersect(keys), nil
}

// newestLive are the keys that existed where the last image was that is of no plan's LSN: jobs of one plan have the same.
type newestLive struct {
	sync.Mutex
	liveSet
	exact bool
}

func (n *newestLive) at(ctx context.Context, t *Timeline, lsn page.LSN) (page.Set, bool, error) {
	n.Lock()
	defer n.Unlock()
	if n.lsn != lsn {
		keys, exact, err := t.findLive(ctx, lsn)
		if err != nil {
			return page.Set{}, false, err
		}
		n.liveSet, n.exact = liveSet{lsn, keys}, exact
	}
	return n.keys, n.exact, nil
}

// readQuietly is GetVectored as background work does it.
func (t *Timeline) readQuietly(ctx context.Context, keys page.Set, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error {
	if err := t.checkLSN(lsn); err != nil {
		return err
	}
	l, err := t.pin(lsn)
	if err != nil {
		return err
	}
	defer l.release()
	return l.getVectored(t.env.inBackground(ctx), keys, lsn, fn)
}

// images writes image layers between the keys that have none.
type images struct {
	t      *Timeline
	r      *jobRun
	from   page.Key // where the present layer begins
	w      *layer.ImageWriter
	n      int64
	owed   int
	outs   []output
	broken []error
}

// write writes the layers of all keys. It holds memory, which a flush may wait for, and so must not wait for the flusher.
func (i *images) write(ctx context.Context, keys page.Set, lsn page.LSN) error {
	jobs := i.t.env.Shares.Jobs
	if err := jobs.Acquire(ctx, imageMemory); err != nil {
		return err
	}
	defer jobs.Release(imageMemory)
	err := i.t.readQuietly(ctx, keys, lsn, func(k page.Key, v []byte, err error) error { return i.add(ctx, k, v, err) })
	if err != nil {
		return err
	}
	return i.finish(ctx, i.r.job.Rect.Keys.End)
}

func (i *images) add(ctx context.Context, k page.Key, v []byte, err error) error {
	if err != nil {
		var file *fs.PathError
		if ctx.Err() != nil || errors.As(err, &file) { // it may pass
			return err
		}
		return i.skip(ctx, k, err)
	}
	if len(v) == 0 && k.Sparse() {
		return nil
	}
	if i.w == nil {
		rect := i.r.job.Rect
		w, err := layer.NewImageWriter(i.t.env.Disk, i.t.dir, i.t.id, page.Range{Start: i.from, End: rect.Keys.End}, rect.LSNs.Start, i.t.generation, i.t.pacedOptions())
		if err != nil {
			return err
		}
		i.w, i.n = w, 0
	}
	i.n++
	i.r.progress.read(len(v))
	if i.owed += len(v); i.owed >= backgroundTransfer {
		n := i.owed
		i.owed = 0
		if err := i.t.env.pace.wait(ctx, n); err != nil {
			return err
		}
	}
	return i.w.Add(k, v)
}

// skip leaves a key out of all images.
func (i *images) skip(ctx context.Context, k page.Key, err error) error {
	i.broken = append(i.broken, fmt.Errorf("%s: %w", k.Describe(), err))
	if err := i.finish(ctx, k); err != nil {
		return err
	}
	i.from = k.Next()
	return nil
}

// finish ends the present layer.
func (i *images) finish(ctx context.Context, end page.Key) error {
	lsns := i.r.job.Rect.LSNs
	out := output{rect: compaction.Rect{Keys: page.Range{Start: i.from, End: end}, LSNs: lsns}, entries: i.n}
	if i.w != nil {
		d, err := i.w.Finish(ctx, end)
		if err != nil {
			return err
		}
		i.w, i.n, out.desc = nil, 0, d
	}
	if !out.rect.Keys.Empty() {
		i.outs = append(i.outs, out)
	}
	return nil
}

func (i *images) abort() {
	if i.w != nil {
		i.w.Abort()
		i.w = nil
	}
}
