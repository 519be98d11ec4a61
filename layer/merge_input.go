package layer

import (
	"context"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

const (
	// mergeAhead is how many layers a Merge begins to read before the keys come to them.
	mergeAhead = 1
	// mergeWindows is how many windows each has: one is used while the other is filled.
	mergeWindows = 2
	// A layer's part of a Merge's memory: below the least, reads are of single values; above the most, longer
	// ones are no faster.
	minMergeInput = 128 << 10
	maxMergeInput = 4 << 20
	// mergeTree is what of it the inner nodes of the index take, one of each level.
	mergeTree = 32 << 10
	// maxMergeIndex bounds how much of the index is read in one go.
	maxMergeIndex = 256 << 10
	// mergeEntryBytes is what an entry takes beside its value.
	mergeEntryBytes = 48
)

// mergeSizes divide a layer's part of the memory, in bytes.
type mergeSizes struct {
	index  int   // that is read in one go
	window int64 // entries and values of one window
}

func divideMerge(each int64) mergeSizes {
	index := min(each/8, maxMergeIndex) &^ (blockSize - 1)
	// Buffers are up to a fifth larger than what is asked for.
	return mergeSizes{index: int(index), window: (each - mergeTree - index*5/4) / mergeWindows * 4 / 5}
}

// mergeEntry is one version in a window.
type mergeEntry struct {
	key      page.Key
	lsn      page.LSN
	at, n    uint32 // in the window
	willInit bool
	zstd     bool
}

// mergeWindow is a stretch of a layer's values with the entries that name them.
type mergeWindow struct {
	entries []mergeEntry
	base    int64 // where in the file buf begins
	end     int64
	buf     *virtualfile.Buffer
	bytes   []byte
}

// fits reports whether e may be added. The first always is.
func (w *mergeWindow) fits(e *entry, limit int64) bool {
	n := cap(w.entries)
	if len(w.entries) == n {
		n += n / 4
	}
	return len(w.entries) == 0 || toBlock(e.end)-w.base+int64(n)*mergeEntryBytes <= limit
}

// firstEntries is the room that a window begins with.
const firstEntries = 64

// add notes e, which follows what was added before.
func (w *mergeWindow) add(e *entry) {
	n := len(w.entries)
	if n == 0 {
		w.base = e.start &^ (blockSize - 1)
	}
	if n == cap(w.entries) { // append would double it
		w.entries = append(make([]mergeEntry, 0, n+n/4), w.entries...)
	}
	w.end = e.end
	w.entries = append(w.entries, mergeEntry{key: e.key, lsn: e.lsn, willInit: e.willInit,
		at: uint32(e.start - w.base), n: uint32(e.end - e.start)})
}

func toBlock(off int64) int64 { return (off + blockSize - 1) &^ (blockSize - 1) }

// read reads the values and takes each blob apart.
func (w *mergeWindow) read(ctx context.Context, r *Reader) (err error) {
	n := int(toBlock(w.end) - w.base)
	w.buf = r.file.Disk().Buffers().Get(n)
	if w.bytes, err = r.read(ctx, w.buf, w.base, n); err != nil {
		return err
	}
	for i := range w.entries {
		e := &w.entries[i]
		raw := w.value(e)
		s, err := r.blobOf(e.lsn, w.base+int64(e.at), raw)
		if err != nil {
			return err
		}
		header, _, _, err := blobHeader(raw)
		if err != nil {
			return err
		}
		e.at, e.n, e.zstd = e.at+uint32(header), uint32(len(s.Data)), s.Zstd
	}
	return nil
}

func (w *mergeWindow) value(e *mergeEntry) []byte { return w.bytes[e.at : e.at+e.n : e.at+e.n] }

func (w *mergeWindow) reset() {
	if w.buf != nil {
		w.buf.Release()
	}
	*w = mergeWindow{entries: w.entries[:0]}
}

// mergeInput is a layer of a Merge. A goroutine fills windows, which the Merge empties.
type mergeInput struct {
	r      *Reader
	number int
	image  bool
	keys   page.Range
	// opened says that head is an entry; until then it is a lower bound of all.
	opened bool
	head   mergeEntry
	at     int // of head in window
	window *mergeWindow
	bytes  int64 // of windows that were used

	filling *mergeWindow      // by the goroutine
	ready   chan *mergeWindow // closed by the goroutine at the end
	free    chan *mergeWindow
	err     error // of the goroutine, once ready is closed
}

func newMergeInput(r *Reader, number int, keys page.Range) *mergeInput {
	in := &mergeInput{r: r, number: number, image: r.desc.Image, keys: keys}
	in.head.key, in.head.lsn = keys.Start, r.desc.LSNs.Start
	return in
}

// before orders inputs by their heads: key, LSN; what is not opened first, as its bound may be its first entry's
// place; images; the order in which layers were given.
func (in *mergeInput) before(o *mergeInput) bool {
	if c := in.head.key.Compare(o.head.key); c != 0 {
		return c < 0
	}
	switch {
	case in.head.lsn != o.head.lsn:
		return in.head.lsn < o.head.lsn
	case in.opened != o.opened:
		return !in.opened
	case in.image != o.image:
		return in.image
	}
	return in.number < o.number
}

// start begins to read.
func (in *mergeInput) start(m *Merge) {
	in.ready, in.free = make(chan *mergeWindow, mergeWindows), make(chan *mergeWindow, mergeWindows)
	for range mergeWindows {
		in.free <- &mergeWindow{entries: make([]mergeEntry, 0, firstEntries)}
	}
	m.reads.Go(func() {
		defer close(in.ready)
		in.err = in.fill(m.ctx, m.each)
	})
}

// fill walks the index and fills windows with the entries of in.keys.
func (in *mergeInput) fill(ctx context.Context, sizes mergeSizes) error {
	r := in.r
	blocks := scanBlocks{index: stretch{r: r, limit: r.end(), ahead: sizes.index}}
	defer blocks.index.release()
	var scan entryScanner
	scan.init(r, &blocks)
	if err := scan.seek(ctx, in.keys.Start, 0); err != nil {
		return err
	}
	for {
		e, ok, err := scan.next(ctx)
		if err == nil && ok {
			err = scan.inside(&e)
		}
		switch {
		case err != nil:
			return err
		case !ok || !e.key.Less(in.keys.End):
			return in.hand(ctx)
		case in.filling != nil && !in.filling.fits(&e, sizes.window):
			if err := in.hand(ctx); err != nil {
				return err
			}
		}
		if err := in.take(ctx); err != nil {
			return err
		}
		in.filling.add(&e)
	}
}

// take waits for an empty window if there is none to be filled.
func (in *mergeInput) take(ctx context.Context) error {
	if in.filling != nil {
		return nil
	}
	select {
	case in.filling = <-in.free:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hand reads the values of the window that was filled and hands it over.
func (in *mergeInput) hand(ctx context.Context) error {
	if in.filling == nil {
		return nil
	}
	if err := in.filling.read(ctx, in.r); err != nil {
		return err
	}
	in.ready <- in.filling // has room for all windows
	in.filling = nil
	return nil
}

// advance goes to the next entry, and is false behind the last.
func (in *mergeInput) advance(ctx context.Context) (bool, error) {
	in.at++
	if in.window == nil || in.at == len(in.window.entries) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if in.window != nil {
			in.bytes += int64(len(in.window.bytes))
			in.window.reset()
			in.free <- in.window // has room for all windows
			in.window = nil
		}
		select {
		case w, ok := <-in.ready:
			if !ok {
				return false, in.err
			}
			in.window, in.at = w, 0
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	in.head = in.window.entries[in.at]
	return true, nil
}

// release gives all buffers back once the goroutine has ended.
func (in *mergeInput) release() {
	for _, w := range []*mergeWindow{in.window, in.filling} {
		if w != nil {
			w.reset()
		}
	}
	for w := range in.ready {
		w.reset()
	}
	in.window, in.filling = nil, nil
}
