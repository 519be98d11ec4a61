package legacy

import (
	"fmt"
	"slices"
	"sort"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// fold gives jobs that fold the history below the cutoff, where there is enough of it. They go by keys, so that each can be
// published by itself; what is folded already is left as it is.
func (p *planner) fold() []compaction.Job {
	h := findHistory(p.s)
	const percent = 100
	if h.toFold < p.o.FoldMinBytes || h.toFold/int64(p.o.FoldRatio) < h.folded/percent {
		return nil
	}
	f := &folder{planner: p, history: h}
	f.why = fmt.Sprintf("%d bytes of history below the cutoff %s, beside %d that are folded", h.toFold, p.s.Cutoff, h.folded)
	var jobs []compaction.Job
	for _, p := range f.assign(f.split()) {
		if j, ok := f.job(&p); ok {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

type folder struct {
	*planner
	*history
	why string
}

// split divides all keys into pieces of about FoldJobBytes of layers, leaving out partitions without history to fold.
// In each piece a layer ends at least, so that every job frees one.
func (f *folder) split() []page.Range {
	parts := compaction.Partition(f.s.Live, max(f.o.CompactionTargetSize/pageBytes, 1))
	parts = append(parts, compaction.SparsePart(parts))
	parts[len(parts)-1].Keys.End = page.MaxKey
	var all []compaction.Layer
	for _, i := range f.below {
		all = append(all, f.s.Layers[i])
	}
	added, below := newSpread(f.added), newSpread(all)
	var pieces []page.Range
	var grows page.Range
	end := func() {
		if !grows.Empty() {
			pieces = append(pieces, grows)
		}
		grows = page.Range{}
	}
	for _, part := range parts {
		if n, _ := added.over(part.Keys); n == 0 {
			end()
			continue
		}
		if grows.Empty() {
			grows.Start = part.Keys.Start
		}
		grows.End = part.Keys.End
		_, bytes := below.over(grows)
		if bytes > f.o.FoldJobBytes && below.endedBy(grows.End) > below.endedBy(grows.Start) {
			end()
		}
	}
	end()
	return f.withoutDone(pieces)
}

// withoutDone takes from the ends of pieces the keys that a job has folded which was broken off.
func (f *folder) withoutDone(pieces []page.Range) []page.Range {
	var moved, left []page.Range
	for _, i := range f.below {
		moved = append(moved, f.s.Layers[i].Moved...)
	}
	if len(moved) == 0 {
		return pieces
	}
	for i := range f.added {
		left = append(left, f.added[i].Rest().Ranges()...)
	}
	done := page.NewSet(moved...).Subtract(page.NewSet(left...))
	for i := range pieces {
		if rest := page.NewSet(pieces[i]).Subtract(done).Ranges(); len(rest) > 0 {
			pieces[i] = page.Range{Start: rest[0].Start, End: rest[len(rest)-1].End}
		}
	}
	return pieces
}

// piece is what one job folds: some keys, and the layers over them that begin at the cutoff or below, those that end first
// before others.
type piece struct {
	keys   page.Range
	layers []int
}

// assign gives each piece its layers.
func (f *folder) assign(keys []page.Range) []piece {
	pieces := make([]piece, len(keys))
	for i := range pieces {
		pieces[i].keys = keys[i]
	}
	for i := range f.s.Layers {
		l := &f.s.Layers[i]
		if l.LSNs.Start > f.s.Cutoff {
			continue
		}
		first := sort.Search(len(pieces), func(n int) bool { return l.Keys.Start.Less(pieces[n].keys.End) })
		for n := first; n < len(pieces) && pieces[n].keys.Start.Less(l.Keys.End); n++ {
			if overlaps(l, pieces[n].keys) {
				pieces[n].layers = append(pieces[n].layers, i)
			}
		}
	}
	for i := range pieces {
		slices.SortFunc(pieces[i].layers, func(a, b int) int { return byEnd(&f.s.Layers[a], &f.s.Layers[b]) })
	}
	return pieces
}

// job folds a piece, up to the highest LSN at or below the cutoff that no delta of it straddles: an image at another would have to
// hold facts from above.
func (f *folder) job(p *piece) (compaction.Job, bool) {
	top := f.top(p)
	var inputs, obsolete []int
	var read int64
	some, lsns := false, page.LSNRange{Start: top, End: top}
	for _, i := range p.layers {
		l := &f.s.Layers[i]
		if l.LSNs.End > top {
			if l.Image {
				return compaction.Job{}, false // facts below it may have been collected
			}
			continue
		}
		inputs = append(inputs, i)
		if within(l, p.keys) {
			obsolete = append(obsolete, i)
		}
		some = some || f.isNew[i]
		lsns.Start = min(lsns.Start, l.LSNs.Start)
		read += l.Size
	}
	if !some {
		return compaction.Job{}, false
	}
	spec := &compaction.FoldSpec{Horizon: top - 1, Retain: f.retain(p.keys, lsns), Below: f.s.AncestorLSN != 0}
	rect := compaction.Rect{Keys: p.keys, LSNs: lsns}
	s, target := f.s, f.o.CompactionTargetSize
	pages := compaction.SetPages(s.Live.Intersect(p.keys)) * pageBytes
	return compaction.Job{
		Kind: compaction.Fold, Inputs: inputs, Obsolete: obsolete, Rect: rect, Fold: spec,
		Cut:   func() compaction.Cutter { return newFoldCutter(s, rect, spec, target) },
		Level: 2, Priority: compaction.PriorityFold,
		Cost:   compaction.Cost{Read: read, Write: min(read, pages*int64(1+len(spec.Retain)))},
		Reason: f.why,
	}, true
}

// top gives the LSN below which a piece is folded.
func (f *folder) top(p *piece) page.LSN {
	top := f.s.Cutoff + 1
	for _, i := range p.layers {
		if l := &f.s.Layers[i]; l.L0() {
			top = min(top, l.LSNs.Start) // they come to L1 first
		}
	}
	for _, i := range slices.Backward(p.layers) {
		if l := &f.s.Layers[i]; !l.Image && l.LSNs.Start < top && top < l.LSNs.End {
			top = l.LSNs.Start
		}
	}
	return top
}

// retain gives the LSNs inside, below the topmost, at which some of the keys are read.
func (f *folder) retain(keys page.Range, lsns page.LSNRange) []page.LSN {
	var all []page.LSN
	for _, r := range f.s.Retain {
		if lsns.Start <= r.LSN && r.LSN < lsns.End-1 && !page.NewSet(keys).Subtract(page.NewSet(r.Released...)).Empty() {
			all = append(all, r.LSN)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// overlaps reports whether keys are left in a layer.
func overlaps(l *compaction.Layer, keys page.Range) bool {
	return l.Keys.Overlaps(keys) && (len(l.Moved) == 0 || l.Rest().Overlaps(keys))
}
