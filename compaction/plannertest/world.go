package plannertest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// State is what a key holds at an LSN: a digest of all records and images that made it. The zero State is that of a key which does
// not exist.
type State uint64

// fact is an entry of a layer.
type fact struct {
	key  page.Key
	lsn  page.LSN
	size int64
	// image says that state is the state here, and no older fact is needed; a State of 0 removes the key. Otherwise it is
	// a record, which makes of the state before it another; willInit, one that does not look at it.
	image, willInit bool
	state           State
	record          uint64
}

// after gives the state that the fact makes of the one before.
func (f *fact) after(before State) State {
	if f.image {
		return f.state
	}
	if f.willInit {
		before = 1
	}
	h := (uint64(before) ^ f.record) * 0x9E3779B97F4A7C15
	return State(h ^ h>>29 | 1)
}

func compareFacts(a, b *fact) int {
	return cmp.Or(a.key.Compare(b.key), cmp.Compare(a.lsn, b.lsn))
}

// file is a layer with what it holds, in order.
type file struct {
	compaction.Layer
	facts []fact
}

// of gives the facts of a key.
func (f *file) of(k page.Key) []fact {
	from, _ := slices.BinarySearchFunc(f.facts, k, func(x fact, k page.Key) int { return x.key.Compare(k) })
	to := from
	for to < len(f.facts) && f.facts[to].key == k {
		to++
	}
	return f.facts[from:to]
}

// truth is what a key's history really is: its states from each LSN on.
type truth struct {
	lsns   []page.LSN
	states []State
	// gone are LSN ranges in which nobody asks for the key: its relation was dropped.
	gone page.LSN
}

func (t *truth) at(lsn page.LSN) State {
	n, found := slices.BinarySearch(t.lsns, lsn)
	if found {
		return t.states[n]
	}
	if n == 0 {
		return 0
	}
	return t.states[n-1]
}

// World is a timeline that exists in memory only, with every entry of every layer, and the truth beside it. Its
// methods do what an engine does; Check compares what reads give with the truth.
type World struct {
	Options compaction.Options

	files  map[compaction.ID]*file
	doomed map[compaction.ID]bool
	mem    []fact
	memAt  page.LSN // start of what is in memory

	truths map[page.Key]*truth
	live   map[page.Key]bool // dense keys that exist now
	births map[page.Key]page.LSN

	generation       uint32
	initial          page.LSN
	ancestor         page.LSN
	last, durable    page.LSN
	cutoff           page.LSN
	retain           map[page.LSN]page.Set // released keys
	imageCheck       compaction.ImageCheck
	nextRecord       uint64
	Written, Removed int // layers
}

// startLSN is where worlds begin.
const startLSN page.LSN = 0x1000

// NewWorld makes an empty timeline. With branched it is one whose ancestor holds keys already.
func NewWorld(o compaction.Options, branched bool) *World {
	w := &World{
		Options: o, files: map[compaction.ID]*file{}, doomed: map[compaction.ID]bool{}, memAt: startLSN + 1,
		truths: map[page.Key]*truth{}, live: map[page.Key]bool{}, births: map[page.Key]page.LSN{}, generation: 1,
		initial: startLSN, last: startLSN, durable: startLSN, cutoff: startLSN, retain: map[page.LSN]page.Set{},
	}
	if branched {
		w.ancestor = startLSN
		for n := range uint32(24) {
			k := dense(0, n)
			w.truths[k] = &truth{lsns: []page.LSN{startLSN - 8}, states: []State{State(n + 1)}}
			w.live[k], w.births[k] = true, startLSN-8
		}
	}
	return w
}

// dense is the key of a block, sparse that of a piece of metadata.
func dense(rel, block uint32) page.Key {
	return page.RelTag{Spc: 1663, DB: 5, Rel: 16384 + rel}.Block(block)
}

func sparse(n uint32) page.Key { return page.Key{F1: 0x62, F6: n} }

// Put writes a version of a key.
func (w *World) put(f fact) {
	t := w.truths[f.key]
	if t == nil {
		t = &truth{}
		w.truths[f.key] = t
	}
	before := t.at(f.lsn)
	t.lsns, t.states = append(t.lsns, f.lsn), append(t.states, f.after(before))
	w.mem = append(w.mem, f)
	if !f.key.Sparse() && !w.live[f.key] {
		w.live[f.key], w.births[f.key] = true, f.lsn
	}
	w.last = max(w.last, f.lsn)
}

// memBytes is the size of what is in memory.
func (w *World) memBytes() int64 {
	var n int64
	for i := range w.mem {
		n += w.mem[i].size
	}
	return n
}

// Flush writes what is in memory as an L0, or as the strategy wants it.
func (w *World) Flush(by compaction.Strategy) error {
	if w.last < w.memAt {
		return nil
	}
	lsns := page.LSNRange{Start: w.memAt, End: w.last + 1}
	facts := slices.Clone(w.mem)
	slices.SortFunc(facts, func(a, b fact) int { return compareFacts(&a, &b) })
	cuts := []compaction.Rect{{Keys: page.FullRange, LSNs: lsns}}
	if f, ok := by.(compaction.Flusher); ok {
		spec := f.Flush(w.Snapshot(nil), lsns)
		if spec.Cut != nil {
			cuts = cutUp(spec.Cut(), facts)
		}
		facts = w.withImages(facts, spec.MaxRecords)
	}
	w.mem, w.memAt, w.durable = nil, w.last+1, w.last
	from := page.MinKey
	for _, c := range cuts {
		if c.Keys.Start != from || c.LSNs != lsns {
			return fmt.Errorf("a flush of %s is cut at %s, after keys up to %s", lsns, c, from)
		}
		from = c.Keys.End
		if in := within(facts, c); len(in) > 0 || len(cuts) == 1 {
			w.add(compaction.ID{Keys: c.Keys, LSNs: lsns, Generation: w.generation}, in)
		}
	}
	if from != page.MaxKey {
		return fmt.Errorf("a flush ends at key %s", from)
	}
	return nil
}

// within gives the facts inside a rectangle.
func within(facts []fact, r compaction.Rect) []fact {
	var in []fact
	for _, f := range facts {
		if r.Keys.Contains(f.key) && r.LSNs.Contains(f.lsn) {
			in = append(in, f)
		}
	}
	return in
}

// fileOverhead is what a layer file has beside its values.
const fileOverhead = 100

func (w *World) add(id compaction.ID, facts []fact) *file {
	f := &file{Layer: compaction.Layer{ID: id, Size: fileOverhead, Entries: int64(len(facts))}, facts: facts}
	for i := range facts {
		f.Size += facts[i].size
	}
	if !id.Image {
		f.Chains = chainsOf(facts)
	}
	w.files[id] = f
	w.Written++
	return f
}

// remove takes a layer away; its name stays taken until Delete.
func (w *World) remove(id compaction.ID) {
	delete(w.files, id)
	w.doomed[id] = true
	w.Removed++
}

// IDs gives the names of the live layers in order.
func (w *World) IDs() []compaction.ID {
	return slices.SortedFunc(maps.Keys(w.files), compaction.ID.Compare)
}

// Snapshot gives what planners see. order, if not nil, permutes the layers.
func (w *World) Snapshot(order func([]compaction.Layer)) *compaction.Snapshot {
	s := &compaction.Snapshot{
		Doomed: slices.SortedFunc(maps.Keys(w.doomed), compaction.ID.Compare), Generation: w.generation,
		LastRecordLSN: w.last, DiskConsistentLSN: w.durable, InitialLSN: w.initial, AncestorLSN: w.ancestor,
		Cutoff: w.cutoff, LiveLSN: w.durable, UnflushedBytes: w.memBytes(), ImageCheck: w.imageCheck, Options: w.Options,
	}
	for _, id := range w.IDs() {
		l := w.files[id].Layer
		l.Moved = slices.Clone(l.Moved)
		s.Layers = append(s.Layers, l)
	}
	if order != nil {
		order(s.Layers)
	}
	for _, lsn := range slices.Sorted(maps.Keys(w.retain)) {
		s.Retain = append(s.Retain, compaction.ReadPoint{LSN: lsn, Released: slices.Clone(w.retain[lsn].Ranges())})
	}
	s.Live = w.liveAt(w.durable)
	return s
}

// liveAt gives the dense keys that exist at an LSN, of those that exist now or are not yet durably gone.
func (w *World) liveAt(lsn page.LSN) page.Set {
	var keys []page.Key
	for k, born := range w.births {
		t := w.truths[k]
		if born <= lsn && (w.live[k] || t.gone > lsn) {
			keys = append(keys, k)
		}
	}
	return page.SetOfKeys(keys...)
}
