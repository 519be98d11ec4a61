package layer

import (
	"context"
	"slices"
	"sync"

	"github.com/stratapg/strata/page"
)

const (
	// maxGap is how many unwanted bytes are read to save another call: about what a call costs.
	maxGap = 16 << 10
	// maxRun bounds one read; a single larger value is still read whole.
	maxRun = 128 << 10
	// maxWanted is how many places are gathered before they are read.
	maxWanted = 4096
)

// Collect adds to c what the layer holds of keys within lsns, per key from the newest down to the first
// that initializes. An image layer whose LSN lies in lsns settles all of keys that are in its range.
func (r *Reader) Collect(ctx context.Context, c *Collector, keys page.Set, lsns page.LSNRange) error {
	if !lsns.Overlaps(r.desc.LSNs) || !keys.Overlaps(r.desc.Keys) {
		return nil
	}
	w := wantedPool.Get().(*wanted)
	w.r, w.c = r, c
	w.scan.init(r, r)
	defer w.release()
	keys = keys.Intersect(r.desc.Keys)
	for _, kr := range keys.Ranges() {
		if err := w.gather(ctx, kr, lsns); err != nil {
			return err
		}
	}
	if err := w.read(ctx); err != nil {
		return err
	}
	if r.desc.Image {
		for _, kr := range keys.Ranges() {
			c.Settle(kr)
		}
	}
	return nil
}

// wanted are the entries to be read, ascending by place. It is pooled.
type wanted struct {
	r    *Reader
	c    *Collector
	scan entryScanner
	list []entry
	run  []byte // an image layer's bytes as they lie in the file
}

var wantedPool = sync.Pool{New: func() any { return new(wanted) }}

// release gives w back without what it refers to.
func (w *wanted) release() {
	clear(w.list)
	w.r, w.c, w.list = nil, nil, w.list[:0]
	w.scan = entryScanner{}
	wantedPool.Put(w)
}

// gather notes the entries of a key range within lsns. Of one key, what is older than an initializing value
// is left out.
func (w *wanted) gather(ctx context.Context, keys page.Range, lsns page.LSNRange) error {
	if err := w.scan.seek(ctx, keys.Start, lsns.Start); err != nil {
		return err
	}
	keyStart, any := 0, false // where the present key's entries begin in list
	var key page.Key
	for {
		e, ok, err := w.scan.next(ctx)
		if err != nil {
			return err
		}
		if !ok || !e.key.Less(keys.End) || w.c.beyond(e.key) {
			return nil
		}
		if !any || e.key != key {
			if len(w.list) >= maxWanted {
				if err := w.read(ctx); err != nil {
					return err
				}
			}
			key, any, keyStart = e.key, true, len(w.list)
		}
		switch {
		case e.lsn < lsns.Start:
			err = w.scan.seek(ctx, e.key, lsns.Start)
		case e.lsn >= lsns.End:
			err = w.scan.seek(ctx, e.key.Next(), lsns.Start)
		default:
			if e.willInit {
				w.list = w.list[:keyStart]
			}
			w.list = append(w.list, e)
		}
		if err != nil {
			return err
		}
	}
}

// read fetches the listed entries, neighbours together, and empties the list.
func (w *wanted) read(ctx context.Context) error {
	// A healthy file has values in the order of the index; a damaged one must not make a run go backwards.
	if !slices.IsSortedFunc(w.list, func(a, b entry) int { return int(min(max(a.start-b.start, -1), 1)) }) {
		return corruptf(w.r.file.Name(), w.list[0].start, "values do not lie in the order of the index")
	}
	for i := 0; i < len(w.list) && !w.c.beyond(w.list[i].key); {
		j := i + 1
		for j < len(w.list) && w.list[j].start-w.list[j-1].end <= maxGap && w.list[j].end-w.list[i].start <= maxRun {
			j++
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.readRun(w.list[i:j]); err != nil {
			return err
		}
		i = j
	}
	w.add()
	clear(w.list)
	w.list = w.list[:0]
	return nil
}

// readRun reads entries that lie close together in one go.
func (w *wanted) readRun(run []entry) error {
	base := run[0].start
	b := w.buffer(int(run[len(run)-1].end - base))
	if err := w.r.readAt(b, base); err != nil {
		return err
	}
	for i := range run {
		e := &run[i]
		s, err := w.r.blobOf(e, b[e.start-base:e.end-base:e.end-base])
		if err == nil {
			e.value, err = w.r.plain(e, s, w.c.buf.alloc)
		}
		if err != nil {
			return err
		}
		if w.r.desc.Image && !s.Zstd {
			e.value = w.c.buf.alloc(len(s.Data))
			copy(e.value, s.Data)
		}
	}
	return nil
}

// buffer gives room for a run. Values of a delta stay where they were read; of an image layer, whose values
// are mostly compressed, only the images are kept.
func (w *wanted) buffer(n int) []byte {
	if !w.r.desc.Image || n > maxRun {
		return w.c.buf.alloc(n)
	}
	if w.run == nil {
		w.run = make([]byte, maxRun)
	}
	return w.run[:n]
}

// add hands over what was read: keys ascending, the values of each from the newest down.
func (w *wanted) add() {
	for i := 0; i < len(w.list); {
		j := i + 1
		for j < len(w.list) && w.list[j].key == w.list[i].key {
			j++
		}
		for n := j - 1; n >= i; n-- {
			e := &w.list[n]
			w.c.Add(e.key, e.lsn, w.r.desc.Image, e.willInit, e.value)
		}
		i = j
	}
}
