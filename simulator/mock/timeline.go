package mock

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// Timeline is the mock.
type Timeline struct {
	space *Space
	log   *Log
	opts  compaction.Options

	last       []uint32 // newest record of each key
	first      []uint32 // oldest record of each sparse key, by number from sparseFrom on
	sparseFrom uint32
	fresh      bitset // keys that begin anew with their next record
	truncated  bool
	// awaits has for each key that was truncated away by turns the LSNs of that and of the first record since.
	awaits map[uint32][]page.LSN

	mem      []entry // in the order of records
	memBytes int64
	memStart page.LSN
	memFirst uint32
	memSort  *Layer // mem sorted, nil until a read wants it
	scratch  scratch

	live           []*Layer
	index          []indexed          // live, for reads; nil after a change
	over           []*indexed         // room for those that a read looks at
	descs          []compaction.Layer // live, for planners
	shown          bool               // descs are a planner's too: the next change copies them
	doomed         []compaction.ID
	generation     uint32
	imagesInDeltas bool

	initial page.LSN
	preload bool
	cutoff  page.LSN
	retain  []compaction.ReadPoint
	unread  [][]span // of each of retain, the keys that nobody reads there

	imageCheck     page.LSN
	imageCheckTime time.Duration
	now            time.Duration

	counts Counts
	refs   *references
	chains bool
	watch  func(Change)
}

// Change is one step in the life of a layer.
type Change struct {
	Layer   *Layer
	Kind    string // "flush", or the kind of job
	Deleted bool
}

// Options of a Timeline.
type Options struct {
	Compaction compaction.Options
	// Start is where the timeline begins.
	Start page.LSN
	// Preload says that it begins with images of all that exists.
	Preload bool
	// Records is how many records are expected.
	Records int
	// Count says that references to records are counted, so that a lost one is noticed.
	Count bool
	// Chains says that planners are told of deltas how many records of a key follow each other there: strategies that keep no
	// bound do not look.
	Chains bool
	// Watch, if set, is told of each layer made and removed.
	Watch func(Change)
}

// New makes a timeline.
func New(space *Space, o Options) (*Timeline, error) {
	if o.Start == 0 {
		return nil, fmt.Errorf("a timeline cannot begin at LSN 0/0")
	}
	t := &Timeline{space: space, log: newLog(o.Start, o.Records), opts: o.Compaction, generation: 1,
		initial: o.Start, cutoff: o.Start, memStart: o.Start + 1, last: make([]uint32, space.end), watch: o.Watch, chains: o.Chains,
		awaits: map[uint32][]page.LSN{}}
	for i := range t.last {
		t.last[i] = none
	}
	t.sparseFrom = space.end
	for _, r := range space.regions {
		if r.Sparse {
			t.sparseFrom = min(t.sparseFrom, r.start)
		}
	}
	t.first = slices.Clone(t.last[t.sparseFrom:])
	if o.Count {
		t.refs = newReferences(o.Records)
	}
	if t.preload = o.Preload; t.preload {
		if l := t.newImage(page.FullRange, o.Start); l != nil {
			t.add(l, Import)
		}
	}
	return t, nil
}

// Put takes in records until memory holds more than a layer's worth, and says how many it took and whether it is full.
func (t *Timeline) Put(rs []Record) (n int, full bool) {
	t.memSort = nil
	for !full && n < len(rs) {
		t.memBytes += int64(rs[n].Size)
		full = t.memBytes > t.opts.CheckpointDistance
		n++
	}
	rs = rs[:n]
	// What the newest record of each key was is looked up in a loop of its own, in which many of these waits overlap.
	log, mem := t.log, t.mem
	before := log.follow(n)
	for i := range rs {
		last := &t.last[rs[i].Key]
		before[i], *last = *last, log.n+uint32(i)
	}
	for i := range rs {
		r := &rs[i]
		init := r.Init || before[i] == none && !(t.preload && t.wasThere(r.Key))
		if t.truncated && t.fresh.has(r.Key) {
			init = true
			t.fresh.clear(r.Key)
			t.awaits[r.Key] = append(t.awaits[r.Key], log.end+page.LSN(r.Size))
		}
		mem = append(mem, newEntry(r.Key, log.n))
		if before[i] == none && r.Key >= t.sparseFrom {
			t.first[r.Key-t.sparseFrom] = log.n
		}
		log.append(r.Size, init)
	}
	t.mem = mem
	return n, full
}

// wasThere reports whether a key existed at the start.
func (t *Timeline) wasThere(key uint32) bool {
	r := &t.space.regions[t.space.regionOf(key)]
	return !r.Sparse && key-r.start < r.Blocks
}

// Last is the LSN of the newest record.
func (t *Timeline) Last() page.LSN { return t.log.end }

// Flushed is the LSN up to which everything is in layers.
func (t *Timeline) Flushed() page.LSN { return t.memStart - 1 }

// Records is how many records have been taken in.
func (t *Timeline) Records() int64 { return int64(t.log.n) }

// Unflushed is the bytes in memory.
func (t *Timeline) Unflushed() int64 { return t.memBytes }

// Live gives the live layers. The caller must not change them.
func (t *Timeline) Live() []*Layer { return t.live }

// Space gives the timeline's keys.
func (t *Timeline) Space() *Space { return t.space }

// Cutoff is the lowest LSN that reads may ask for.
func (t *Timeline) Cutoff() page.LSN { return t.cutoff }

// Retained gives the read points of branches. The caller must not change them.
func (t *Timeline) Retained() []compaction.ReadPoint { return t.retain }

// SetNow tells the time since the start.
func (t *Timeline) SetNow(d time.Duration) { t.now = d }

// Flush writes what is in memory as the strategy says, an L0 if it says nothing.
func (t *Timeline) Flush(s compaction.Strategy) error {
	if len(t.mem) == 0 {
		return nil
	}
	es := t.scratch.sortByKey(t.mem)
	whole := compaction.Rect{Keys: page.FullRange, LSNs: page.LSNRange{Start: t.memStart, End: t.log.end + 1}}
	rects := []compaction.Rect{whole}
	if f, ok := s.(compaction.Flusher); ok {
		spec := f.Flush(t.Snapshot(), whole.LSNs)
		if spec.Cut != nil {
			rects = t.cut(spec.Cut(), es, true)
		}
		var err error
		if es, err = t.limitRuns(es, spec.MaxRecords); err != nil {
			return err
		}
	}
	n := 0
	for _, r := range rects {
		part := t.within(es, r)
		if n += len(part); len(part) == 0 {
			continue
		}
		l := t.newDelta(r, part, 0)
		l.Reason = "memory was full"
		t.add(l, Flush)
	}
	if n != len(es) {
		return fmt.Errorf("flush at %v: the cutter of %s places %d of %d records", t.log.end, s.Name(), n, len(es))
	}
	t.memStart, t.memFirst = t.log.end+1, t.log.n
	t.mem, t.memBytes, t.memSort = make([]entry, 0, len(t.mem)+len(t.mem)/64), 0, nil
	return nil
}

// Snapshot is what a strategy sees now. Layers are in the order of Live. Nobody may change it.
func (t *Timeline) Snapshot() *compaction.Snapshot {
	t.shown = true
	return t.view()
}

// view is a Snapshot until the next change of the layers.
func (t *Timeline) view() *compaction.Snapshot {
	s := &compaction.Snapshot{
		Layers: t.descs, Doomed: t.doomed, Generation: t.generation,
		LastRecordLSN: t.log.end, DiskConsistentLSN: t.Flushed(), InitialLSN: t.initial,
		Cutoff: t.cutoff, Retain: t.retain,
		Live: t.space.Live(t.Flushed()), LiveLSN: t.Flushed(), UnflushedBytes: t.memBytes,
		Options: t.opts,
	}
	if t.imageCheck != 0 {
		s.ImageCheck = compaction.ImageCheck{LSN: t.imageCheck, Age: t.now - t.imageCheckTime}
	}
	return s
}

// ImagesChecked notes that a plan looked whether images are due.
func (t *Timeline) ImagesChecked() { t.imageCheck, t.imageCheckTime = t.Flushed(), t.now }

// Forget lets go of the names of removed layers, as when the last reader of them has finished.
func (t *Timeline) Forget() { t.doomed = nil }

// Restart begins a new generation; memory is what the log gives again.
func (t *Timeline) Restart() {
	t.generation++
	t.doomed = nil
}

// Resize gives a region another length from the next record on: at the newest one's LSN layers may have been made by now.
func (t *Timeline) Resize(region int, blocks uint32) error {
	old := t.space.Blocks(region)
	if err := t.space.resize(region, t.log.end+1, blocks); err != nil {
		return err
	}
	start := t.space.Start(region)
	for k := blocks; k < old; k++ {
		t.truncated = true
		t.fresh.set(start + k)
		if n := len(t.awaits[start+k]); n%2 == 0 {
			t.awaits[start+k] = append(t.awaits[start+k], t.log.end+1)
		}
	}
	return nil
}

// Branch makes the newest LSN a read point.
func (t *Timeline) Branch() page.LSN {
	x := t.log.end
	if n := len(t.retain); n == 0 || t.retain[n-1].LSN != x {
		t.retain = append(slices.Clip(t.retain), compaction.ReadPoint{LSN: x})
		t.unread = append(t.unread, nil)
	}
	return x
}

// DropBranch ends a read point.
func (t *Timeline) DropBranch(x page.LSN) {
	if i, found := t.retained(x); found {
		t.retain = slices.Delete(slices.Clone(t.retain), i, i+1)
		t.unread = slices.Delete(t.unread, i, i+1)
	}
}

// Release notes that nobody reads some keys any more at a read point.
func (t *Timeline) Release(x page.LSN, keys page.Range) {
	if i, found := t.retained(x); found {
		t.retain = slices.Clone(t.retain)
		p := &t.retain[i]
		p.Released = page.NewSet(append([]page.Range{keys}, p.Released...)...).Ranges()
		t.unread[i] = t.space.spans(p.Released)
	}
}

// retained finds a read point of a branch.
func (t *Timeline) retained(x page.LSN) (int, bool) {
	return slices.BinarySearchFunc(t.retain, x, func(p compaction.ReadPoint, x page.LSN) int { return cmp.Compare(p.LSN, x) })
}

// Exists reports whether a key exists at an LSN and, if that is a read point that has released keys, is read there.
func (t *Timeline) Exists(key uint32, at page.LSN) bool {
	if !t.exists(key, at) {
		return false
	}
	if at < t.cutoff {
		if i, found := t.retained(at); found {
			return !t.releasedAt(i, key)
		}
	}
	return true
}

// releasedAt reports whether nobody reads a key any more at the i-th read point of a branch.
func (t *Timeline) releasedAt(i int, key uint32) bool {
	return slices.ContainsFunc(t.unread[i], func(s span) bool { return s.has(key) })
}

// exists reports whether a key exists at an LSN: then an image there has it, whoever reads it now.
func (t *Timeline) exists(key uint32, at page.LSN) bool {
	return t.existsIn(&t.space.regions[t.space.regionOf(key)], key, at)
}

// existsIn is exists for a key of a region.
func (t *Timeline) existsIn(r *region, key uint32, at page.LSN) bool {
	if r.Sparse {
		f := t.first[key-t.sparseFrom]
		return f != none && t.log.lsn(f) <= at
	}
	return key-r.start < r.blocksAt(at) && (!t.truncated || !t.awaited(key, at))
}

// awaited reports whether a key that was truncated away has had no record since, at an LSN: it may be there again by the
// region's length.
func (t *Timeline) awaited(key uint32, at page.LSN) bool {
	n, _ := slices.BinarySearch(t.awaits[key], at+1)
	return n%2 == 1
}

// BytesBetween gives the bytes of a layer that are of keys lo to hi.
func (t *Timeline) BytesBetween(l *Layer, lo, hi uint32) int64 {
	lo, hi = max(lo, l.span.lo), min(hi, l.span.hi)
	if lo >= hi {
		return 0
	}
	if l.Image {
		_, n := t.imaged(span{lo, hi}, l.LSNs.Start)
		return n
	}
	return t.bytesOf(keySpan(l.entries, lo, hi))
}

// MoveCutoff forbids reads below x, except at branches. It never goes back.
func (t *Timeline) MoveCutoff(x page.LSN) { t.cutoff = max(t.cutoff, min(x, t.Flushed())) }

// add makes a layer live.
func (t *Timeline) add(l *Layer, kind string) {
	t.changing()
	l.place = len(t.live)
	t.live, t.descs = append(t.live, l), append(t.descs, l.Layer)
	t.counts.created(kind, l)
	if t.refs != nil {
		t.refs.add(l.entries)
	}
	if t.watch != nil {
		t.watch(Change{Layer: l, Kind: kind})
	}
}

// changing lets go of what was derived from the live layers, but for descs, which the caller keeps up to date.
func (t *Timeline) changing() {
	t.index = nil
	if t.shown {
		t.descs, t.shown = slices.Clone(t.descs), false
	}
}

// move notes the keys for which other layers answer instead of a live one.
func (t *Timeline) move(l *Layer, moved []page.Range) {
	t.changing()
	l.Moved = moved
	t.descs[l.place].Moved = moved
}

// remove takes layers away.
func (t *Timeline) remove(gone []*Layer, kind string) error {
	if len(gone) == 0 {
		return nil
	}
	t.changing()
	for _, l := range gone {
		l.place = notLive
	}
	n := 0
	for i, l := range t.live {
		if l.place == notLive {
			continue
		}
		if n < i {
			l.place, t.live[n], t.descs[n] = n, l, t.descs[i]
		}
		n++
	}
	clear(t.live[n:])
	clear(t.descs[n:])
	t.live, t.descs = t.live[:n], t.descs[:n]
	for _, l := range gone {
		t.doomed = append(slices.Clip(t.doomed), l.ID)
		t.counts.deleted(l)
		if t.watch != nil {
			t.watch(Change{Layer: l, Kind: kind, Deleted: true})
		}
	}
	if t.refs != nil {
		return t.lost(gone)
	}
	return nil
}
