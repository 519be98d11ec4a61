package partitioned

import (
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// minTile is, in parts of a flushed layer, the least that becomes a delta of its own: a flush makes few files.
const minTile = 16

// Flush gives dense stretches of the key space deltas of their own.
//
// A part that gets b bytes with each flush and has s bytes of live pages is imaged for s once MaxVisits layers lie upon
// each other, if nothing is merged before: s for MaxVisits·b of WAL. Merging would write all of it once and make images rarer. So a
// part is dense where s is less than MaxVisits·b, and a third, which is what the images cost that merging would need too.
func (Strategy) Flush(s *compaction.Snapshot, lsns page.LSNRange) compaction.FlushSpec {
	o := s.Options.WithDefaults()
	parts := partsOf(s, o)
	return compaction.FlushSpec{MaxRecords: perLayer(o.MaxRecords), Cut: func() compaction.Cutter {
		return &tiles{parts: parts, bytes: make([]int64, len(parts)), lsns: lsns, visits: int64(o.MaxVisits)}
	}}
}

// tiles is the cutter of a flush.
type tiles struct {
	parts  []part
	bytes  []int64
	at     int
	total  int64
	lsns   page.LSNRange
	visits int64
	last   page.Key // the last one of pages, if there is one
}

// Add counts the entry to its part.
func (t *tiles) Add(e compaction.Entry, _ func(compaction.Rect)) {
	for t.at < len(t.parts)-1 && !e.Key.Less(t.parts[t.at].keys.End) {
		t.at++
	}
	t.bytes[t.at] += e.Size
	if e.Key.F1 < sparse.Start.F1 {
		t.last = e.Key
	}
	t.total += e.Size
}

// Finish gives the tiles.
func (t *tiles) Finish(emit func(compaction.Rect)) {
	dense := make([]bool, len(t.parts))
	for i := range t.parts {
		dense[i] = 3*t.parts[i].cost <= 4*t.visits*t.bytes[i]
	}
	from := page.MinKey
	cut := func(at page.Key) {
		if from.Less(at) {
			emit(compaction.Rect{Keys: page.Range{Start: from, End: at}, LSNs: t.lsns})
			from = at
		}
	}
	for i := 0; i < len(dense); {
		n := slices.Index(dense[i:], !dense[i])
		if n < 0 {
			n = len(dense) - i
		}
		var size int64
		for _, b := range t.bytes[i : i+n] {
			size += b
		}
		if dense[i] && minTile*size >= t.total {
			cut(t.parts[i].keys.Start)
			if end := t.parts[i+n-1].keys.End; i+n == len(dense) || end.Less(sparse.Start) {
				cut(end)
			}
		}
		i += n
	}
	if last := len(t.parts) - 1; t.bytes[last] == 0 || from != page.MinKey {
		// Relations grow behind the last page, and of metadata there may be none of which an image could be made: the delta
		// does not reach over either.
		cut(t.last.Next())
	}
	cut(page.MaxKey)
}
