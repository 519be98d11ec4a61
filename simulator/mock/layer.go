package mock

import (
	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// Layer is a layer of the timeline: what planners see of it, and what is in it.
type Layer struct {
	compaction.Layer
	// Level is the job's guess at the level; Job the number of the job that made it, 0 for a flush; Reason why.
	Level  int
	Job    int
	Reason string

	place    int // in the timeline's live layers, or notLive
	span     span
	entries  []entry // of a delta, sorted
	anchors  []int32 // where in entries nothing older is needed; nil until wanted
	anchored bool
}

// notLive is the place of a layer that is none of the timeline's yet, or no more.
const notLive = -1

// bytesOf gives the size of entries as written.
func (t *Timeline) bytesOf(es []entry) int64 {
	if size, ok := t.log.uniform(); ok && !t.imagesInDeltas {
		return int64(len(es)) * size
	}
	n := int64(0)
	for _, e := range es {
		n += t.entrySize(e)
	}
	return n
}

func (t *Timeline) entrySize(e entry) int64 {
	if e.image() {
		return t.space.imageBytes(e.key())
	}
	return t.log.size(e.record())
}

// deltaOverhead is what a delta written by a job has beside its records, as in Neon's mock.
const deltaOverhead = 2

// newDelta makes a delta of entries.
func (t *Timeline) newDelta(r compaction.Rect, es []entry, overhead int64) *Layer {
	l := &Layer{
		Layer: compaction.Layer{
			ID:      compaction.ID{Keys: r.Keys, LSNs: r.LSNs, Generation: t.generation},
			Size:    t.bytesOf(es) + overhead,
			Entries: int64(len(es)),
		},
		place:   notLive,
		span:    t.space.span(r.Keys),
		entries: es,
	}
	if t.chains {
		l.Chains = t.chainsOf(es)
	}
	return l
}

// newImage makes an image layer of the keys of a range that exist at x; nil if none does.
func (t *Timeline) newImage(keys page.Range, x page.LSN) *Layer {
	sp := t.space.span(keys)
	n, bytes := t.imaged(sp, x)
	if n == 0 {
		return nil
	}
	return &Layer{
		Layer: compaction.Layer{
			ID:      compaction.ID{Keys: keys, LSNs: page.LSNRange{Start: x, End: x + 1}, Image: true, Generation: t.generation},
			Size:    bytes,
			Entries: n,
		},
		place: notLive,
		span:  sp,
	}
}

// imaged gives how many keys of a span an image at x has, and their bytes.
func (t *Timeline) imaged(sp span, x page.LSN) (n, bytes int64) {
	for i := range t.space.regions {
		r := &t.space.regions[i]
		lo, hi := max(sp.lo, r.start), min(sp.hi, r.start+r.Room)
		if lo >= hi {
			continue
		}
		count := int64(0)
		if r.Sparse {
			for k := lo; k < hi; k++ {
				if f := t.first[k-t.sparseFrom]; f != none && t.log.lsn(f) <= x {
					count++
				}
			}
		} else if end := r.start + r.blocksAt(x); end > lo {
			count = int64(min(hi, end) - lo)
		}
		n += count
		bytes += count * int64(r.ImageBytes)
	}
	return n, bytes
}

// anchorsOf gives the places in a delta's entries that need nothing older.
func (t *Timeline) anchorsOf(l *Layer) []int32 {
	if !l.anchored {
		l.anchored = true
		if l.LSNs.Start > t.log.lastInit && !t.imagesInDeltas {
			return nil
		}
		for i, e := range l.entries {
			if e.image() || t.log.inits.has(e.record()) {
				l.anchors = append(l.anchors, int32(i))
			}
		}
	}
	return l.anchors
}

// Numbers gives the layer's keys as numbers.
func (l *Layer) Numbers() (lo, hi uint32) { return l.span.lo, l.span.hi }
