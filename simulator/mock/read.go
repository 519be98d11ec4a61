package mock

import (
	"slices"

	"github.com/stratapg/strata/page"
)

// indexed is a layer as reads look for it.
type indexed struct {
	span
	start, end page.LSN
	layer      *Layer
	moved      []span // keys for which other layers answer
}

// answers reports whether the layer is to be read for a key of its span.
func (x *indexed) answers(key uint32) bool {
	for _, m := range x.moved {
		if m.lo <= key && key < m.hi {
			return false
		}
	}
	return true
}

// Read is what a read costs.
type Read struct {
	// Deltas and Layers are those visited; memory is a layer. Records are those to replay.
	Deltas, Layers, Records int
	// found says that the read came to a fact that needs nothing older.
	found bool
	// newest and oldest are the records replayed, none if there are none; base is the LSN of the image under them.
	newest, oldest uint32
	base           page.LSN
}

func (t *Timeline) reindex() {
	if t.index != nil {
		return
	}
	t.index = make([]indexed, len(t.live))
	for i, l := range t.live {
		t.index[i] = indexed{l.span, l.LSNs.Start, l.LSNs.End, l, t.space.spans(l.Moved)}
	}
}

// Read reads a key at an LSN as the engine does: from the newest layer down to the first fact that needs nothing older.
func (t *Timeline) Read(key uint32, at page.LSN) Read {
	t.reindex()
	return t.readAmong(t.index, key, at)
}

// readAmong is Read where among has all layers over the key.
func (t *Timeline) readAmong(among []indexed, key uint32, at page.LSN) Read {
	r := Read{newest: none, oldest: none}
	pos := at + 1
	if at >= t.memStart {
		r.Layers++
		if t.readMemory(key, at, &r) {
			return r
		}
		pos = t.memStart
	}
	over := t.over[:0]
	for i := range among {
		if x := &among[i]; x.lo <= key && key < x.hi && x.start < pos && x.answers(key) {
			over = append(over, x)
		}
	}
	t.over = over
	var delta, image *indexed
	for {
		delta, image, over = newestBelow(over, pos)
		floor := page.LSN(0)
		if image != nil {
			floor = image.end
		}
		if delta == nil || min(delta.end, pos) <= floor {
			if image != nil {
				r.Layers++
				r.found, r.base = true, image.start
			}
			return r
		}
		r.Layers++
		r.Deltas++
		floor = max(floor, delta.start)
		if t.readDelta(delta.layer, key, floor, pos, &r) {
			return r
		}
		pos = floor
	}
}

// newestBelow gives the delta that reaches highest below pos, and the newest image there; and those that begin below it.
func newestBelow(over []*indexed, pos page.LSN) (delta, image *indexed, left []*indexed) {
	left = over[:0]
	for _, x := range over {
		if x.start >= pos {
			continue
		}
		left = append(left, x)
		switch {
		case x.layer.Image:
			if image == nil || x.start > image.start {
				image = x
			}
		case delta == nil || min(x.end, pos) > min(delta.end, pos) || min(x.end, pos) == min(delta.end, pos) && x.start > delta.start:
			delta = x
		}
	}
	return delta, image, left
}

// readDelta takes a key's entries with LSNs in [floor, pos) and says whether nothing older is needed.
func (t *Timeline) readDelta(l *Layer, key uint32, floor, pos page.LSN, r *Read) bool {
	low, high := uint32(0), none
	if l.LSNs.Start < floor {
		low = t.log.after(floor - 1)
	}
	if pos < l.LSNs.End {
		high = t.log.after(pos - 1)
	}
	lo := below(l.entries, key, low)
	hi := lo + belowNear(l.entries[lo:], key, high)
	return t.take(l.entries, t.anchorsOf(l), lo, hi, r)
}

// take counts the entries from lo to hi from above down to the newest anchor.
func (t *Timeline) take(es []entry, anchors []int32, lo, hi int, r *Read) bool {
	if lo == hi {
		return false
	}
	a, _ := slices.BinarySearch(anchors, int32(hi))
	anchored := a > 0 && int(anchors[a-1]) >= lo
	if anchored {
		lo = int(anchors[a-1])
	}
	if anchored && es[lo].image() {
		r.found, r.base = true, t.log.lsn(es[lo].record())
		lo++
	}
	if lo == hi {
		return true
	}
	r.Records += hi - lo
	if r.newest == none {
		r.newest = es[hi-1].record()
	}
	r.oldest = es[lo].record()
	r.found = r.found || anchored
	return anchored
}

// maxChain is how many records in memory a read follows one by one; beyond, memory is sorted.
const maxChain = 32

// readMemory reads what is not flushed yet.
func (t *Timeline) readMemory(key uint32, at page.LSN, r *Read) bool {
	rec := t.last[key]
	for n := 0; rec != none && rec >= t.memFirst; rec = t.log.prev[rec] {
		if n++; n > maxChain {
			return t.readSorted(key, at, r)
		}
	}
	for rec = t.last[key]; rec != none && rec >= t.memFirst; rec = t.log.prev[rec] {
		if t.log.lsn(rec) > at {
			continue
		}
		r.Records++
		if r.newest == none {
			r.newest = rec
		}
		r.oldest = rec
		if t.log.inits.has(rec) {
			r.found = true
			return true
		}
	}
	return false
}

func (t *Timeline) readSorted(key uint32, at page.LSN, r *Read) bool {
	if t.memSort == nil {
		t.memSort = &Layer{entries: t.scratch.sortByKey(slices.Clone(t.mem))}
		t.memSort.LSNs = page.LSNRange{Start: t.memStart, End: t.log.end + 1}
	}
	return t.readDelta(t.memSort, key, t.memStart, at+1, r)
}
