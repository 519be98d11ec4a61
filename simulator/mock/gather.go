package mock

import (
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// gather merges the entries of deltas inside a rectangle, but for those that lie in other layers too.
func (t *Timeline) gather(inputs []*Layer, r compaction.Rect) []entry {
	var parts [][]entry
	for _, l := range inputs {
		if l.Image {
			continue
		}
		at := page.MinKey
		for _, m := range l.Moved {
			parts = append(parts, t.within(l.entries, compaction.Rect{Keys: page.Range{Start: at, End: m.Start}.Intersect(r.Keys), LSNs: clip(r.LSNs, l)}))
			at = m.End
		}
		parts = append(parts, t.within(l.entries, compaction.Rect{Keys: page.Range{Start: at, End: page.MaxKey}.Intersect(r.Keys), LSNs: clip(r.LSNs, l)}))
	}
	return t.scratch.mergeAll(inRow(parts))
}

// clip widens LSNs that cover a layer, so that its entries need not be looked at.
func clip(r page.LSNRange, l *Layer) page.LSNRange {
	if r.Start <= l.LSNs.Start && l.LSNs.End <= r.End {
		return page.LSNRange{End: page.MaxLSN}
	}
	return r
}

// within gives the entries in a rectangle, without copying them where they lie together.
func (t *Timeline) within(es []entry, r compaction.Rect) []entry {
	if r.Keys.Empty() {
		return nil
	}
	sp := t.space.span(r.Keys)
	es = keySpan(es, sp.lo, sp.hi)
	if len(es) == 0 || r.LSNs.Start <= t.initial && r.LSNs.End > t.log.end {
		return es
	}
	lo, hi := t.log.after(r.LSNs.Start-1), t.log.after(r.LSNs.End-1)
	if k := es[0].key(); k == es[len(es)-1].key() {
		es = es[below(es, k, lo):]
		return es[:below(es, k, hi)]
	}
	inside := func(e entry) bool { return e.record() >= lo && e.record() < hi }
	if !slices.ContainsFunc(es, func(e entry) bool { return !inside(e) }) {
		return es
	}
	var out []entry
	for _, e := range es {
		if inside(e) {
			out = append(out, e)
		}
	}
	return out
}

// cut runs a cutter over entries. Together says that all records of a key that has few may be one entry for it: cutters of what is
// flushed or merged divide the history of a key only where it is more than an output alone.
func (t *Timeline) cut(c compaction.Cutter, es []entry, together bool) []compaction.Rect {
	var out []compaction.Rect
	emit := func(r compaction.Rect) { out = append(out, r) }
	few := int64(-1)
	if together {
		few = min(t.opts.CheckpointDistance, t.opts.CompactionTargetSize) / fewParts
	}
	size, same := t.log.uniform()
	same = same && !t.imagesInDeltas
	at := &region{}
	for i := 0; i < len(es); {
		k := es[i].key()
		n := i + 1
		for n < len(es) && es[n].key() == k {
			n++
		}
		bytes := int64(n-i) * size
		if !same {
			bytes = t.bytesOf(es[i:n])
		}
		if k-at.start >= at.Room {
			at = &t.space.regions[t.space.regionOf(k)]
		}
		e := compaction.Entry{Key: at.First, LSN: t.log.lsn(es[i].record()), Size: bytes}
		if low := e.Key.F6 + (k - at.start); low >= e.Key.F6 {
			e.Key.F6 = low // the usual case, without a carry
		} else {
			e.Key = e.Key.Add(k - at.start)
		}
		if bytes <= few {
			c.Add(e, emit)
		} else {
			for _, x := range es[i:n] {
				e.LSN, e.Size = t.log.lsn(x.record()), t.entrySize(x)
				c.Add(e, emit)
			}
		}
		i = n
	}
	c.Finish(emit)
	return out
}

// fewParts is how many times a key's records must fit into the smallest output that is wanted, to be one entry for cutters.
const fewParts = 8
