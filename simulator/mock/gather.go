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
	return mergeAll(chains(parts))
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

// limitRuns puts an image in place of each record that follows n others of its key without one. 0 is no limit.
func (t *Timeline) limitRuns(es []entry, n int) []entry {
	if n == 0 {
		return es
	}
	copied := false
	run := 0
	for i, e := range es {
		switch {
		case i > 0 && es[i-1].key() != e.key():
			run = 0
		}
		if e.image() || t.log.inits.has(e.record()) {
			run = 0
			continue
		}
		if run++; run > n {
			if !copied {
				es, copied = append([]entry(nil), es...), true
				t.imagesInDeltas = true
			}
			es[i] |= imageBit
			run = 0
		}
	}
	return es
}

// cut runs a cutter over entries.
func (t *Timeline) cut(c compaction.Cutter, es []entry) []compaction.Rect {
	var out []compaction.Rect
	emit := func(r compaction.Rect) { out = append(out, r) }
	var e compaction.Entry
	last := none
	size, same := t.log.uniform()
	same = same && !t.imagesInDeltas
	e.Size = size
	for _, x := range es {
		if k := x.key(); k != last {
			e.Key, last = t.space.Key(k), k
		}
		e.LSN = t.log.lsn(x.record())
		if !same {
			e.Size = t.entrySize(x)
		}
		c.Add(e, emit)
	}
	c.Finish(emit)
	return out
}
