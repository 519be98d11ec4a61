package timeline

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// chainsKnown are how many records of a key follow each other in the timeline's deltas, as far as that is known. A layer's
// are there before a view has it.
type chainsKnown struct {
	mu struct {
		sync.RWMutex
		of map[compaction.ID]*page.Chains
	}
}

func (c *chainsKnown) get(id compaction.ID) *page.Chains {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.mu.of[id]
}

// note takes over what an edit says.
func (c *chainsKnown) note(e *manifest.Edit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.of == nil {
		c.mu.of = map[compaction.ID]*page.Chains{}
	}
	for i := range e.Remove {
		delete(c.mu.of, idOf(&e.Remove[i]))
	}
	for i := range e.Chains {
		x := &e.Chains[i]
		c.mu.of[idOf(&x.Layer)] = &x.Chains
	}
}

// chainsOf is what the manifest says of a delta.
func chainsOf(d layer.Desc, c page.Chains) manifest.Chains {
	d.Size = 0
	return manifest.Chains{Layer: d, Chains: c}
}

// chain puts images between the records of a key. What a page was it reads once; from then on it redoes the records that go
// by.
type chain struct {
	t     *Timeline
	limit int // records that may follow each other; 0 is any number
	// streams says that what goes by is all there is of its keys.
	streams bool
	key     page.Key
	n       int
	state   pageState
	follows bool // state is that of key, up to the entry before
	room    []byte
	// passOver is told of a page that cannot be rebuilt.
	passOver func()
}

func newChain(t *Timeline, limit int) chain {
	return chain{t: t, limit: limit, state: pageState{t: t}}
}

// next gives the value for an entry: itself, an image as a delta has it, or the page as of its LSN where enough
// records of its key have gone by.
func (c *chain) next(ctx context.Context, m *layer.Merged) (value []byte, willInit bool, err error) {
	if m.Key != c.key {
		c.key, c.n, c.follows = m.Key, 0, false
	}
	switch {
	case m.Image:
		c.n, c.follows = 0, false
		return c.image(m.Value), true, nil
	case c.limit == 0 || m.Key.Sparse():
		return m.Value, m.WillInit, nil
	case m.WillInit:
		c.n, c.follows = 1, false
		if v, err := imageOf(m.Value); err == nil && v != nil {
			c.n = 0
		}
		return m.Value, true, nil
	case c.n < c.limit:
		c.n++
		if c.follows && c.follow(ctx, m) != nil {
			c.follows = false
		}
		return m.Value, false, ctx.Err()
	}
	c.n = 0
	v, err := c.page(ctx, m)
	switch {
	case ctx.Err() != nil:
		return nil, false, ctx.Err()
	case err != nil: // the record says no less
		return m.Value, false, c.failed(err)
	}
	c.t.env.counters.chainImages.Add(1)
	return c.image(v), true, nil
}

// failed counts a page that there is no image of. What may pass is tried again with the next, as many records later.
func (c *chain) failed(err error) error {
	c.t.env.counters.chainErrors.Add(1)
	var file *fs.PathError
	if !errors.As(err, &file) && !errors.Is(err, context.DeadlineExceeded) && c.passOver != nil {
		c.passOver()
	}
	return nil
}

// follow makes a record part of the state.
func (c *chain) follow(ctx context.Context, m *layer.Merged) error {
	return c.state.apply(ctx, &foldVersion{lsn: m.LSN, value: append(c.state.take(), m.Value...)})
}

// page gives the page as of an entry's LSN.
func (c *chain) page(ctx context.Context, m *layer.Merged) ([]byte, error) {
	if c.follows {
		if c.follow(ctx, m) == nil {
			if v, exists, err := c.state.page(ctx, m.LSN); err == nil && exists {
				return v, nil
			}
		}
		c.follows = false // what a read says of it counts
	}
	v, err := c.read(ctx, m.Key, m.LSN)
	if err == nil && c.streams {
		c.state.set(m.Key, v)
		c.follows = true
	}
	return v, err
}

// read reads a page as others do. Below the cutoff it may be read only if nothing is missing.
func (c *chain) read(ctx context.Context, k page.Key, lsn page.LSN) ([]byte, error) {
	if !c.streams {
		if err := c.t.checkKept(lsn); err != nil {
			return nil, err
		}
	}
	l, err := c.t.pin(lsn)
	if err != nil {
		return nil, err
	}
	defer l.release()
	return l.get(c.t.env.inBackground(ctx), k, lsn)
}

// image gives an image as a delta has it.
func (c *chain) image(v []byte) []byte {
	c.room = (&page.Value{Kind: page.KindImage, Bytes: v}).Append(c.room[:0])
	return c.room
}

// streams reports whether what the inputs of a span hold is all there is of its keys at the job's LSNs. It is not where
// layers have been dropped, since an image at or below the cutoff hides them, and where other outputs have a part.
func (r *jobRun) streams(s keySpan) bool {
	for i := range r.snap.Layers {
		l := &r.snap.Layers[i]
		hides := l.Image && r.job.Rect.LSNs.Start <= l.LSNs.Start && l.LSNs.Start <= r.snap.Cutoff
		elsewhere := len(l.Moved) > 0 && slices.Contains(r.job.Inputs, i) && !slices.Contains(s.inputs, i)
		if (hides || elsewhere) && l.Keys.Overlaps(s.keys) {
			return false
		}
	}
	return true
}
