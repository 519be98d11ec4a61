package layer

import (
	"context"
	"slices"
	"sync"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// maxProbes is the widest range of blocks whose keys are looked up one by one. A wider one is read from what
// memOrder has sorted.
const maxProbes = 1 << 10

// Collect adds to c what the layer holds of keys within lsns, per key from the newest down to the first
// that initializes. Of what is in the ephemeral file c learns where it lies; its Fetch reads it. Values stay
// valid until the Release of c, if somebody owns the layer until then.
func (m *Mem) Collect(ctx context.Context, c *Collector, keys page.Set, lsns page.LSNRange) error {
	if m.Len() == 0 || !lsns.Overlaps(m.LSNs()) {
		return nil
	}
	c.visit(visited{lsns: lsns})
	g := memGather{m: m, c: c, lsns: lsns}
	for _, r := range keys.Ranges() {
		for !r.Empty() && !c.beyond(r.Start) {
			if err := ctx.Err(); err != nil {
				return err
			}
			r.Start = g.some(r)
		}
	}
	return nil
}

// memGather is one Collect under way.
type memGather struct {
	m    *Mem
	c    *Collector
	lsns page.LSNRange
	held *virtualfile.Buffer // the last chunk that c got an owner of
}

// some collects some keys of r and gives where to go on; the range's end if nothing is left.
func (g *memGather) some(r page.Range) page.Key {
	prefix := prefixOf(r.Start)
	switch {
	case r.Start.Next() == r.End:
		return g.probe(prefix, r, 1)
	case prefix == prefixOf(r.End) && r.End.F6-r.Start.F6 <= maxProbes:
		return g.probe(prefix, r, min(r.End.F6-r.Start.F6, readSteps))
	}
	return g.walk(r, g.m.order.update(g.m))
}

// probe looks n keys up, beginning with that of r.
func (g *memGather) probe(prefix page.Key, r page.Range, n uint32) page.Key {
	g.m.mu.RLock()
	defer g.m.mu.RUnlock()
	x := &g.m.mu.index
	id, ok := x.prefixes.find(prefix)
	if !ok || x.slots.dir == nil {
		return r.End
	}
	for k := r.Start; n > 0; n-- {
		if at := x.head(id, k.F6); at != 0 {
			g.chainLocked(k, at)
		}
		if k = k.Next(); k == r.End {
			return k
		}
		if n == 1 {
			return k
		}
	}
	return r.End
}

// walk takes keys of r from sorted runs.
func (g *memGather) walk(r page.Range, runs memRuns) page.Key {
	g.m.mu.RLock()
	defer g.m.mu.RUnlock()
	x := &g.m.mu.index
	runs.seek(x, r.Start)
	for range readSteps {
		k, rec, ok := runs.next(x)
		if !ok || !k.Less(r.End) || g.c.beyond(k) {
			return r.End
		}
		g.chainLocked(k, x.head(rec.prefix, rec.last))
		r.Start = k.Next()
	}
	return r.Start
}

// chainLocked adds the versions of one key.
func (g *memGather) chainLocked(k page.Key, at uint32) {
	for at != 0 {
		r := g.m.mu.index.records.at(at)
		lsn := r.at()
		if lsn < g.lsns.Start {
			return
		}
		if lsn < g.lsns.End {
			g.addLocked(k, lsn, r)
			if r.willInit() {
				return
			}
		}
		at = r.older()
	}
}

// addLocked hands over a value in memory, or the place of one in a file. The chunk may go to disk while the
// reader still has the value: so the Collector becomes an owner of its memory.
func (g *memGather) addLocked(k page.Key, lsn page.LSN, r *memRecord) {
	place := r.where()
	n := placeLength(place)
	if n == 0 {
		g.c.Add(k, lsn, false, r.willInit(), nil)
		return
	}
	values := &g.m.mu.values
	chunk := &values.chunks[placeOffset(place)>>values.shift]
	buf := chunk.block.Buffer
	if buf == nil {
		g.c.addPending(k, lsn, false, r.willInit(), chunk.file, placeOffset(place), placeOffset(place)+int64(n))
		return
	}
	if buf != g.held && g.m.pool.spills() {
		g.c.hold(buf)
		g.held = buf
	}
	b, _ := values.bytes(place)
	g.c.Add(k, lsn, false, r.willInit(), b)
}

// hold makes the Collector an owner of a buffer in which values lie.
func (c *Collector) hold(b *virtualfile.Buffer) {
	if n := len(c.fetch.bufs); n > 0 && c.fetch.bufs[n-1] == b {
		return
	}
	b.Retain()
	c.fetch.bufs = append(c.fetch.bufs, b)
}

// memOrder has the keys of a layer in order, as far as someone asked for it: runs of the numbers of records
// that were the first of their keys, each run at least twice as long as the next. It is filled by readers of
// wide ranges; a layer that nobody reads so spends nothing on it. Its lock comes before the layer's mu.
type memOrder struct {
	mu     sync.Mutex
	runs   [][]uint32
	sorted uint32 // records up to this number have been looked at
}

// orderSteps is how many records are looked at under one hold of the layer's lock.
const orderSteps = 1 << 14

// update sorts what has come since the last time. Runs never change.
func (o *memOrder) update(m *Mem) memRuns {
	o.mu.Lock()
	defer o.mu.Unlock()
	var added []uint32
	for more := true; more; {
		added, more = o.lookLocked(m, added)
	}
	if len(added) > 0 {
		m.mu.RLock()
		x := memIndex{prefixes: memPrefixes{keys: m.mu.index.prefixes.keys}, records: m.mu.index.records}
		m.mu.RUnlock()
		byKey := func(a, b uint32) int { return x.key(x.records.at(a)).Compare(x.key(x.records.at(b))) }
		slices.SortFunc(added, byKey)
		for n := len(o.runs); n > 0 && len(o.runs[n-1]) < 2*len(added); n-- {
			added = mergeRuns(o.runs[n-1], added, byKey)
			o.runs = o.runs[: n-1 : n-1]
		}
		o.runs = append(o.runs, added)
	}
	return memRuns{runs: o.runs, at: make([]int, len(o.runs))}
}

// lookLocked finds keys that are new among some records. It gives false when there are no more.
func (o *memOrder) lookLocked(m *Mem, added []uint32) ([]uint32, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	records := &m.mu.index.records
	end := min(records.n, o.sorted+orderSteps)
	for o.sorted < end {
		o.sorted++
		if records.at(o.sorted).prev&memFirst != 0 {
			added = append(added, o.sorted)
		}
	}
	return added, end < records.n
}

func mergeRuns(a, b []uint32, compare func(a, b uint32) int) []uint32 {
	out := make([]uint32, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if compare(a[0], b[0]) < 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// memRuns is a walk over all runs together. A key is in one of them only.
type memRuns struct {
	runs [][]uint32
	at   []int
}

// seek goes to the first key at or above k.
func (w *memRuns) seek(x *memIndex, k page.Key) {
	for i, run := range w.runs {
		w.at[i], _ = slices.BinarySearchFunc(run, k, func(id uint32, k page.Key) int { return x.key(x.records.at(id)).Compare(k) })
	}
}

// next gives the next key and its first record.
func (w *memRuns) next(x *memIndex) (k page.Key, r *memRecord, ok bool) {
	least := 0
	for i, run := range w.runs {
		if w.at[i] == len(run) {
			continue
		}
		o := x.records.at(run[w.at[i]])
		if key := x.key(o); !ok || key.Less(k) {
			least, k, r, ok = i, key, o, true
		}
	}
	if ok {
		w.at[least]++
	}
	return k, r, ok
}
