package layer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

const (
	// residentWindow is how many values are handed over together if all are in memory: enough for the handing to
	// cost nothing, few enough to be in the cache still.
	residentWindow = 2 << 10
	// lookAtOnce is how many values are looked up together: the processor waits for many of them at once, and
	// has them in its first cache when they are used.
	lookAtOnce = 64
	// memWindows is how many windows a walk has: one is used, the others are filled, so that neither side waits for the
	// other at each of them, and the drive has work while what came is verified. With two, sorting and handing over took turns
	// as often as not: walking through 1.3 million values took 300 ms, with eight 175.
	memWindows = 8
	// spilledWindow bounds the bytes of values, and of what is noted of each, that are read back for one window, and
	// orderedWindows is how many of them there are. Of values in order four of 4 MiB were a tenth faster than three of 8 MiB, of
	// which one was read at a time.
	orderedWindows = 4
	spilledWindow  = 4 << 20
	// Values that are not in order lie anywhere in the file, most of which is read for each window: so there are few,
	// and large ones.
	scatteredWindows = 2
	scatteredWindow  = 12 << 20
	// maxMemWalks bounds the walks of a pool that read values back at the same time, and with WalkMemory the memory of all
	// of them.
	maxMemWalks = 2
	// readBack bounds the bytes of reads in flight of one walk or Collect; a larger value is read alone.
	readBack = 4 << 20
	// readRun bounds one read, readGap is how many unwanted bytes are read to save another.
	readRun = 1 << 20
	readGap = 32 << 10
)

// memEntry is what a record says of a value, on its way from one processor to another: that they hand over 24
// bytes, not 96, is a fifth of a flush.
type memEntry struct {
	place  uint64
	lsn    page.LSN
	prefix uint32 // its number, doubled, and one more for a value that initializes
	last   uint32
}

// memWindow is some entries that follow one another.
type memWindow struct {
	entries []memEntry
	wanted  []memWanted
	buf     *virtualfile.Buffer // for values that were read back, in the order of their entries; kept for the next
	bytes   int                 // of them
	most    int                 // that it may have, beside a single value
	room    int                 // that buf has, but for a larger value
	fetched chan struct{}       // closed when they are there, or err says why not; nil if nothing is wanted
	err     error
}

// memFn gets a value; key and value are valid during the call.
type memFn func(k *page.Key, lsn page.LSN, willInit bool, value []byte) error

// Iterate gives all values in (key, LSN) order; a value is valid during the call of fn only. An error of fn
// ends the walk and is returned. Memory is bounded, whatever the layer holds: 4 bytes a value for the order,
// and a few windows. Puts into a layer that is still open wait until the walk is over.
func (m *Mem) Iterate(ctx context.Context, fn func(k page.Key, lsn page.LSN, willInit bool, value []byte) error) error {
	return m.walk(ctx, func(k *page.Key, lsn page.LSN, willInit bool, value []byte) error {
		return fn(*k, lsn, willInit, value)
	})
}

// AppendTo adds all values to a delta layer, as Iterate with its Add would.
func (m *Mem) AppendTo(ctx context.Context, w *DeltaWriter) error { return m.walk(ctx, w.add) }

// WalkMemory bounds the bytes that Iterate or AppendTo of a frozen layer holds beside the layer, values larger than a
// window excepted: the order of its records, and where values were spilled, windows of them and reads in flight.
func (m *Mem) WalkMemory() int64 {
	bytes := 2 * int64(unsafe.Sizeof(uint32(0))) * int64(m.mu.index.records.n)
	if !m.spilled() {
		return bytes + memWindows*residentWindow*int64(unsafe.Sizeof(memEntry{}))
	}
	return bytes + max(orderedWindows*(spilledWindow+readBack), scatteredWindows*(scatteredWindow+readBack))
}

// spilled reports whether some values are in ephemeral files. Nobody may be putting.
func (m *Mem) spilled() bool {
	return slices.ContainsFunc(m.mu.values.chunks, func(c memChunk) bool { return c.file != nil })
}

func (m *Mem) walk(ctx context.Context, fn memFn) error {
	if !m.frozen() {
		m.writer.Lock()
		defer m.writer.Unlock()
		m.writer.spill.wait()
	}
	if m.mu.index.records.n == 0 {
		return ctx.Err()
	}
	spilled := m.spilled()
	if spilled {
		select {
		case m.pool.walks <- struct{}{}:
			defer func() { <-m.pool.walks }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w := memWalk{m: m, x: &m.mu.index, fn: fn, spilled: spilled, count: memWindows}
	s, ordered := newMemSort(w.x)
	switch {
	case spilled && ordered:
		w.count, w.most = orderedWindows, spilledWindow
	case spilled:
		w.count, w.most = scatteredWindows, scatteredWindow
	}
	if ordered {
		w.numbers = func(add func([]uint32) error) error { return inNumbers(s.n, add) }
	} else {
		w.numbers = s.sorted
		defer s.free()
	}
	if ordered && !spilled {
		return w.alone(ctx)
	}
	return w.ahead(ctx)
}

// memWalk is one walk under way.
type memWalk struct {
	m       *Mem
	x       *memIndex
	fn      memFn
	spilled bool                                 // some values are in the ephemeral file
	numbers func(func(ids []uint32) error) error // all records' numbers in order
	count   int                                  // of windows
	most    int                                  // bytes that one may read back
	window  *memWindow                           // that is being filled
	key     page.Key                             // of the last entry that was given
	prefix  uint32                               // its number, plus 1
	touched byte                                 // or the compiler would leave reads out
}

// alone does all on one goroutine: what lies in order is found faster than it is handed over.
func (w *memWalk) alone(ctx context.Context) error {
	w.window = new(memWindow)
	return w.run(ctx, func() error {
		err := w.give(ctx, w.window)
		w.window.reset()
		return err
	})
}

// ahead hands over windows while another goroutine fills the next ones: so the sorting and the waiting for
// disk is done beside the work of fn.
func (w *memWalk) ahead(ctx context.Context) error {
	windows := make([]memWindow, w.count)
	ready, free := make(chan *memWindow, w.count), make(chan *memWindow, w.count)
	for i := range windows {
		windows[i].most, windows[i].room = w.most, min(w.most, len(w.m.mu.values.chunks)<<w.m.mu.values.shift)
		free <- &windows[i]
		defer windows[i].release()
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(ready)
		w.window = <-free
		return w.run(gctx, func() error {
			f := w.window
			if len(f.wanted) > 0 {
				f.fetched = make(chan struct{})
				g.Go(func() error {
					defer close(f.fetched)
					f.err = f.fetch(gctx, w.m.pool)
					return f.err
				})
			}
			ready <- f // has room for all windows
			w.window = nil
			select {
			case w.window = <-free:
				return nil
			case <-gctx.Done():
				return gctx.Err()
			}
		})
	})
	var err error
	for f := range ready {
		if f.fetched != nil {
			<-f.fetched
		}
		if err == nil && f.err == nil {
			if err = w.give(ctx, f); err != nil {
				g.Go(func() error { return err }) // ends the other side
			}
		}
		f.reset()
		free <- f // has room for all windows
	}
	return g.Wait()
}

// run fills windows and calls full for each.
func (w *memWalk) run(ctx context.Context, full func() error) error {
	err := w.numbers(func(ids []uint32) error { return w.add(ctx, ids, full) })
	if err == nil && len(w.window.entries) > 0 {
		err = full()
	}
	return err
}

// inNumbers calls fn with the numbers from 1 to n.
func inNumbers(n uint32, fn func(ids []uint32) error) error {
	var some [residentWindow]uint32
	for id := uint32(1); id <= n; {
		k := 0
		for ; k < len(some) && id <= n; k++ {
			some[k] = id
			id++
		}
		if err := fn(some[:k]); err != nil {
			return err
		}
	}
	return nil
}

// add puts records into the window, and calls full where it is.
func (w *memWalk) add(ctx context.Context, ids []uint32, full func() error) error {
	for len(ids) > 0 {
		f := w.window
		n := min(len(ids), residentWindow-len(f.entries)%residentWindow)
		from := len(f.entries)
		f.entries = slices.Grow(f.entries, n)[:from+n]
		for i, id := range ids[:n] {
			r, e := w.x.records.at(id), &f.entries[from+i]
			e.place, e.lsn, e.prefix, e.last = r.where(), r.at(), r.prefix<<1|r.prev>>willInitShift, r.last
		}
		took := n
		if w.spilled {
			took = f.want(&w.m.mu.values, from)
		}
		f.entries = f.entries[:from+took]
		ids = ids[took:]
		if took == n && (len(f.entries) < residentWindow || f.bytes > 0) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := full(); err != nil {
			return err
		}
	}
	return nil
}

// want notes which values of the entries from a number on are to be read, and gives how many entries the window
// has room for.
func (f *memWindow) want(values *memLog, from int) int {
	for i := from; i < len(f.entries); i++ {
		place := f.entries[i].place
		c, n := &values.chunks[placeOffset(place)>>values.shift], placeLength(place)
		if c.file == nil {
			n = 0
		}
		if f.bytes > 0 && f.bytes+n+(i+1)*entryBytes > f.most {
			return i - from
		}
		if n > 0 {
			f.wanted = append(f.wanted, memWanted{file: c.file, place: place})
			f.bytes += n
		}
	}
	return len(f.entries) - from
}

// entryBytes is what an entry and what is wanted of it take beside its value.
const entryBytes = 80

// fetch reads what is in the ephemeral file.
func (f *memWindow) fetch(ctx context.Context, pool *MemPool) error {
	if f.buf == nil || f.buf.Len() < f.bytes {
		f.release()
		f.buf = pool.buffers().Get(max(f.bytes, f.room))
	}
	rest := f.buf.Bytes()
	for i := range f.wanted {
		n := placeLength(f.wanted[i].place)
		f.wanted[i].dst, rest = rest[:n:n], rest[n:]
	}
	return readSpilled(ctx, pool, f.wanted)
}

// give hands all entries of a window over.
func (w *memWalk) give(ctx context.Context, f *memWindow) error {
	var read []byte
	if f.buf != nil {
		read = f.buf.Bytes()
	}
	var values [lookAtOnce][]byte
	for rest := f.entries; len(rest) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		some := rest[:min(len(rest), lookAtOnce)]
		rest = rest[len(some):]
		read = w.look(some, values[:len(some)], read)
		for i := range some {
			e := &some[i]
			if p := e.prefix>>1 + 1; p != w.prefix {
				w.prefix, w.key = p, w.x.prefixes.keys[p-1]
			}
			w.key.F6 = e.last
			if err := w.fn(&w.key, e.lsn, e.prefix&1 != 0, values[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// look finds the values of entries: in the log or, in turn, among those that were read. Then it looks into them, so that
// they come into the cache together: in a loop of its own, as the processor looks ahead by instructions, and has the more
// values under way the fewer there are for each.
func (w *memWalk) look(some []memEntry, values [][]byte, read []byte) []byte {
	log := &w.m.mu.values
	for i := range some {
		b, ok := log.bytes(some[i].place)
		if !ok {
			n := placeLength(some[i].place)
			b, read = read[:n:n], read[n:]
		}
		values[i] = b
	}
	touched := byte(0)
	for _, b := range values {
		if n := len(b); n > 0 {
			touched ^= b[0] ^ b[n/2] ^ b[n-1]
		}
	}
	w.touched = touched
	return read
}

// reset empties the window.
func (f *memWindow) reset() {
	clear(f.wanted)
	f.entries, f.wanted, f.bytes, f.fetched = f.entries[:0], f.wanted[:0], 0, nil
	if f.buf != nil && f.buf.Len() > f.most { // of a single value
		f.release()
	}
}

// release gives the memory back that is off the heap.
func (f *memWindow) release() {
	if f.buf != nil {
		f.buf.Release()
		f.buf = nil
	}
}

// memWanted is a value to be read from an ephemeral file into dst, which has its length.
type memWanted struct {
	file  *memFile
	place uint64
	dst   []byte
}

// readSpilled reads values in the order in which they lie, neighbours together, and checks them.
func readSpilled(ctx context.Context, pool *MemPool, list []memWanted) error {
	slices.SortFunc(list, func(a, b memWanted) int {
		return cmp.Or(cmp.Compare(a.file.number, b.file.number), cmp.Compare(a.place, b.place))
	})
	var reads []virtualfile.Read
	var counts []int // of values in each
	release := func() {
		for i := range reads {
			reads[i].Buf.Release()
		}
		reads, counts = reads[:0], counts[:0]
	}
	defer release()
	for len(list) > 0 {
		rest, bytes := list, 0
		for len(rest) > 0 {
			k, r := nextRun(rest)
			if bytes > 0 && bytes+r.Len > readBack {
				break
			}
			r.Buf = pool.buffers().Get(r.Len)
			reads, counts = append(reads, r), append(counts, k)
			rest, bytes = rest[k:], bytes+r.Len
		}
		pool.count(func(s *MemStats) { s.Read += int64(bytes) })
		if err := pool.o.Disk.ReadMulti(ctx, reads); err != nil {
			return err
		}
		for i := range reads {
			if err := takeRun(&reads[i], list[:counts[i]]); err != nil {
				return err
			}
			list = list[counts[i]:]
		}
		release()
	}
	return nil
}

// nextRun gives a read for the first values of a list, and how many they are.
func nextRun(list []memWanted) (int, virtualfile.Read) {
	f := list[0].file
	start, end := f.span(list[0].place)
	n := 1
	for ; n < len(list) && list[n].file == f; n++ {
		s, e := f.span(list[n].place)
		if s-end > readGap || e-start > readRun {
			break
		}
		end = e
	}
	return n, virtualfile.Read{File: f.h, Off: start, Len: int(end - start)}
}

// takeRun checks what was read and copies the values that lie in it.
func takeRun(r *virtualfile.Read, list []memWanted) error {
	f := list[0].file
	if r.Err != nil {
		return fmt.Errorf("read %d bytes at %d of ephemeral file %s: %w", r.Len, r.Off, f.h.Name(), r.Err)
	}
	b := r.Buf.Bytes()[r.At : r.At+r.N]
	if err := f.verify(r.Off, b, nil); err != nil {
		return err
	}
	for i := range list {
		at := placeOffset(list[i].place) - r.Off
		if at+int64(len(list[i].dst)) > int64(len(b)) {
			return corruptf(f.h.Name(), r.Off+int64(r.N), "the file ends within a value at %d", placeOffset(list[i].place))
		}
		copy(list[i].dst, b[at:])
	}
	return nil
}
