package timeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
)

const (
	// soloJobs is how many pages one goroutine rebuilds before another is worth its start.
	soloJobs = 8
	// slotSize is a page and the timestamp that a commit log page may have behind it.
	slotSize = pg.BlockSize + 8
)

// chunk rebuilds the values of what a step of a read has gathered. It is pooled, so that a read allocates
// next to nothing.
type chunk struct {
	results []result
	found   []layer.Found // of all keys
	jobs    []int32       // indexes of results that need redo
	slab    []byte        // where redo puts pages, slotSize for each job
	workers []worker
}

// result is one key's value, or what it is to be made of.
type result struct {
	key         page.Key
	first, last int32 // in found, newest first
	value       []byte
	err         error
}

// gone reports whether the key was removed: that is what an empty image of a sparse key says.
func (r *result) gone() bool { return r.err == nil && len(r.value) == 0 && r.key.Sparse() }

type worker struct{ records []walredo.Record }

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// rebuild makes the values of what c has gathered, on up to so many goroutines. They are valid until the
// chunk's release and the Collector's.
func (t *Timeline) rebuild(ctx context.Context, c *layer.Collector, goroutines int) (*chunk, error) {
	ch := chunks.Get().(*chunk)
	for k, found := range c.Results() {
		if len(found) > 0 {
			ch.add(k, found)
		}
	}
	if err := t.redoAll(ctx, ch, c.LSN(), goroutines); err != nil {
		ch.release()
		return nil, err
	}
	for _, i := range ch.jobs {
		if r := &ch.results[i]; errors.Is(r.err, errNoBase) {
			var path layer.Trace
			c.Trace(&path)
			r.err = fmt.Errorf("%w; asked were:\n%s", r.err, &path)
		}
	}
	return ch, nil
}

// errNoBase says that the values of a key do not begin with one that makes its page.
var errNoBase = errors.New("no image or initializing record below them")

// release gives the chunk back.
func (ch *chunk) release() {
	clear(ch.results) // lets go of the values
	clear(ch.found)
	ch.results, ch.found, ch.jobs = ch.results[:0], ch.found[:0], ch.jobs[:0]
	chunks.Put(ch)
}

// add takes one key; what is an image already needs no redo.
func (ch *chunk) add(k page.Key, found []layer.Found) {
	r := result{key: k, first: int32(len(ch.found))}
	if i := slices.IndexFunc(found, func(f layer.Found) bool { return f.Err != nil }); i >= 0 {
		r.err = fmt.Errorf("%s at LSN %s: %w", k.Describe(), found[i].LSN, layerError(found[i].Err))
	} else if found[0].Raw {
		r.value = found[0].Value
	} else if v, err := imageOf(found[0].Value); v != nil || err != nil {
		r.value, r.err = v, err
		if err != nil {
			r.err = fmt.Errorf("%w: %s at LSN %s: %w", ErrCorrupt, k.Describe(), found[0].LSN, err)
		}
	} else {
		ch.found = append(ch.found, found...)
		ch.jobs = append(ch.jobs, int32(len(ch.results)))
	}
	r.last = int32(len(ch.found))
	ch.results = append(ch.results, r)
}

// imageOf gives the image in a serialized value, or nil for another kind of value.
func imageOf(b []byte) ([]byte, error) {
	v, err := page.DecodeValue(b)
	if err != nil || v.Kind != page.KindImage {
		return nil, err
	}
	return v.Bytes, nil
}

// give hands the values to fn.
func (t *Timeline) give(ctx context.Context, ch *chunk, fn func(k page.Key, value []byte, err error) error) error {
	for i := range ch.results {
		r := &ch.results[i]
		if r.gone() {
			continue
		}
		if r.err != nil {
			r.value = nil
		}
		t.env.counters.readKeys.Add(1)
		if err := fn(r.key, r.value, r.err); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// redoAll rebuilds every page of the chunk that needs it.
func (t *Timeline) redoAll(ctx context.Context, ch *chunk, lsn page.LSN, goroutines int) error {
	n := len(ch.jobs)
	if n == 0 {
		return ctx.Err()
	}
	ch.slab = slices.Grow(ch.slab[:0], n*slotSize)[:n*slotSize]
	workers := min(goroutines, (n+soloJobs-1)/soloJobs)
	for len(ch.workers) < workers {
		ch.workers = append(ch.workers, worker{})
	}
	if workers == 1 {
		for i := range n {
			t.redoOne(ctx, ch, i, &ch.workers[0], lsn)
		}
		return ctx.Err()
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for i := range workers {
		w := &ch.workers[i]
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				t.redoOne(ctx, ch, i, w, lsn)
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// redoOne rebuilds the page of job i into its slot.
func (t *Timeline) redoOne(ctx context.Context, ch *chunk, i int, w *worker, lsn page.LSN) {
	r := &ch.results[ch.jobs[i]]
	slot := ch.slab[i*slotSize : i*slotSize : (i+1)*slotSize]
	r.value, r.err = t.redo(ctx, slot, r.key, ch.found[r.first:r.last], w, lsn)
	t.env.counters.redos.Add(1)
	t.env.counters.redoRecords.Add(int64(r.last - r.first))
	if r.err != nil {
		t.env.counters.redoErrors.Add(1)
		r.err = fmt.Errorf("timeline %s: %s at LSN %s: %w", t.meta.Name, r.key.Describe(), lsn, r.err)
	}
}

// redo builds a page from a key's values, newest first, and appends it to dst.
func (t *Timeline) redo(ctx context.Context, dst []byte, k page.Key, found []layer.Found, w *worker, lsn page.LSN) ([]byte, error) {
	req := walredo.Request{
		Tenant: t.meta.Tenant, Key: k, LSN: lsn, Version: t.meta.Version, Flavour: t.meta.Flavour, Checksums: t.meta.HintBits,
	}
	w.records = w.records[:0]
	defer func() { clear(w.records) }()
	initialized := false
	for i := range slices.Backward(found) {
		f := &found[i]
		if f.Raw {
			req.Base, initialized = f.Value, true
			w.records = w.records[:0]
			continue
		}
		v, err := page.DecodeValue(f.Value)
		if err != nil {
			return nil, fmt.Errorf("%w: value at LSN %s: %w", ErrCorrupt, f.LSN, err)
		}
		if v.Kind == page.KindImage {
			req.Base, initialized = v.Bytes, true
			w.records = w.records[:0]
			continue
		}
		initialized = initialized || v.Initializes()
		w.records = append(w.records, walredo.Record{LSN: f.LSN, Value: v})
	}
	if !initialized {
		return nil, fmt.Errorf("%w: %d records down to LSN %s, and %w", ErrCorrupt, len(found), found[len(found)-1].LSN, errNoBase)
	}
	req.Records = w.records
	return t.env.Redoer.Redo(ctx, dst, &req)
}
