package layer

import (
	"context"
	"runtime"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

const (
	// mergeAhead is how many layers a Merge begins to read before the keys come to them.
	mergeAhead = 1
	// mergeWindows is how many windows each has: one is used while the other is filled.
	mergeWindows = 2
	// A layer's part of a Merge's memory: below the least, reads are of single values; above the most, longer
	// ones are no faster, and a goroutine would keep its processor for longer than a read takes to verify them.
	minMergeInput = 128 << 10
	maxMergeInput = 1 << 20
	// maxPlacesInput is the most where no values are read: more would not stay in the processor's cache.
	maxPlacesInput = 512 << 10
	// mergeTree is what of it the inner nodes of the index take, one of each level.
	mergeTree = 32 << 10
	// maxMergeIndex bounds how much of the index is read in one go.
	maxMergeIndex = 256 << 10
	// mergeEntryBytes is what an entry takes beside its value.
	mergeEntryBytes = 40
)

// mergeSizes divide a layer's part of the memory, in bytes.
type mergeSizes struct {
	index  int   // that is read in one go
	window int64 // entries and values of one window
	places bool  // values stay unread
}

func divideMerge(each int64, places bool) mergeSizes {
	index := each / 8
	if places {
		index = each / 4
	}
	index = min(index, maxMergeIndex) &^ (blockSize - 1)
	// Buffers are up to a fifth larger than what is asked for.
	return mergeSizes{index: int(index), window: (each - mergeTree - index*5/4) / mergeWindows * 4 / 5, places: places}
}

// mergeEntry is one version in a window.
type mergeEntry struct {
	key   treeKey
	at    uint32 // in the window
	value uint32 // length and flags
}

const (
	mergeLength   = 1<<30 - 1 // of a value with its header, and of the padding behind the last
	mergeWillInit = 1 << 31
	mergeZstd     = 1 << 30
)

// mergeWindow is a stretch of a layer's values with the entries that name them.
type mergeWindow struct {
	entries []mergeEntry
	base    int64 // where in the file buf begins
	end     int64
	buf     *virtualfile.Buffer
	bytes   []byte
}

// fits reports whether an entry that ends at end may be added. The first always is.
func (w *mergeWindow) fits(end int64, sizes *mergeSizes) bool {
	n := cap(w.entries)
	if len(w.entries) == n {
		n += n / 4
	}
	values := toBlock(end) - w.base
	if sizes.places {
		values = 0
	}
	return len(w.entries) == 0 || values+int64(n)*mergeEntryBytes <= sizes.window
}

// firstEntries is the room that a window begins with.
const firstEntries = 64

// add notes e, which follows what was added before.
func (w *mergeWindow) add(e *leafEntry, end int64) {
	n := len(w.entries)
	if n == 0 {
		w.base = e.start() &^ (blockSize - 1)
	}
	if n == cap(w.entries) { // append would double it
		w.entries = append(make([]mergeEntry, 0, n+n/4), w.entries...)
	}
	w.end = end
	w.entries = w.entries[:n+1]
	to := &w.entries[n]
	to.key, to.at, to.value = e.key, uint32(e.start()-w.base), uint32(end-e.start())
	if e.willInit() {
		to.value |= mergeWillInit
	}
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
		raw := w.bytes[e.at:][:e.value&mergeLength]
		if n := int(raw[0]); n == len(raw)-1 && n < smallBlob { // the usual way
			e.at, e.value = e.at+1, e.value&^mergeLength|uint32(n)
			continue
		}
		s, err := r.blobOf(e.key.lsn(), w.base+int64(e.at), raw)
		if err != nil {
			return err
		}
		header, _, _, err := blobHeader(raw)
		if err != nil {
			return err
		}
		e.at, e.value = e.at+uint32(header), e.value&^mergeLength|uint32(len(s.Data))
		if s.Zstd {
			e.value |= mergeZstd
		}
	}
	return nil
}

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
	at     int // in window
	window *mergeWindow
	bytes  int64 // of windows that were used

	filling *mergeWindow      // by the goroutine
	ready   chan *mergeWindow // closed by the goroutine at the end
	free    chan *mergeWindow
	err     error // of the goroutine, once ready is closed
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
	var scan leafScanner
	defer scan.release()
	if err := scan.seek(ctx, in.r, in.keys.Start, sizes.index); err != nil {
		return err
	}
	limit := deltaKey(&in.keys.End, 0)
	for {
		entries, end, err := scan.next(ctx)
		if err != nil {
			return err
		}
		for i := range entries {
			e, ends := &entries[i], end
			if i+1 < len(entries) {
				ends = entries[i+1].start()
			}
			if !e.key.less(&limit) {
				return in.hand(ctx, sizes.places)
			}
			if in.filling != nil && !in.filling.fits(ends, &sizes) {
				if err := in.hand(ctx, sizes.places); err != nil {
					return err
				}
			}
			if err := in.take(ctx); err != nil {
				return err
			}
			in.filling.add(e, ends)
		}
		if len(entries) == 0 {
			return in.hand(ctx, sizes.places)
		}
		runtime.Gosched() // there may be many of these goroutines, and nobody waits for this one's next window yet
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

// hand reads the values of the window that was filled, unless places are all that is wanted, and hands it over.
func (in *mergeInput) hand(ctx context.Context, places bool) error {
	if in.filling == nil {
		return nil
	}
	if !places {
		if err := in.filling.read(ctx, in.r); err != nil {
			return err
		}
	}
	in.ready <- in.filling // has room for all windows
	in.filling = nil
	return nil
}

// turn goes to the next window, and is false behind the last.
func (in *mergeInput) turn(ctx context.Context) (bool, error) {
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
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
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
