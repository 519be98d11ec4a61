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
	added, below := f.spread(f.s.Layers, true), f.spread(f.s.Layers, false)
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
		if bytes > f.o.FoldJobBytes && below.endedBy(grows.End).n > below.endedBy(grows.Start).n {
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
	for _, p := range f.pieces {
		if f.isNew[p.layer] {
			left = append(left, p.keys)
		}
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

// job folds a piece.
func (f *folder) job(p *piece) (compaction.Job, bool) {
	lsns, below, ok := f.span(p)
	if !ok {
		return compaction.Job{}, false
	}
	var inputs []int
	var read int64
	due := false
	for _, i := range p.layers {
		l := &f.s.Layers[i]
		if l.LSNs.Start < lsns.Start || lsns.End < l.LSNs.End {
			continue
		}
		inputs = append(inputs, i)
		due = due || f.isNew[i]
		read += l.Size
	}
	if !due || below && !f.stacked(inputs, p.keys) {
		return compaction.Job{}, false
	}
	spec := &compaction.FoldSpec{Horizon: lsns.End - 1, Retain: f.retain(p.keys, lsns), Below: below}
	rect := compaction.Rect{Keys: p.keys, LSNs: lsns}
	s, target := f.s, f.o.CompactionTargetSize
	pages := compaction.SetPages(s.Live.Intersect(p.keys)) * pageBytes
	return compaction.Job{
		Kind: compaction.Fold, Inputs: inputs, Obsolete: inputs, Rect: rect, Fold: spec,
		Cut:   func() compaction.Cutter { return newFoldCutter(s, rect, spec, target) },
		Level: 2, Priority: compaction.PriorityFold,
		Cost:   compaction.Cost{Read: read, Write: min(read, pages*int64(1+len(spec.Retain)))},
		Reason: f.why,
	}, true
}

// span gives the LSNs at which a piece is folded, and whether facts below are needed by what is made. They end at the
// highest LSN at or below the cutoff that no delta of it straddles: an image at another would have to hold facts from
// above. They begin at the bottom, with two exceptions. On a branch, where no image layer can be made of what has facts in the
// ancestor, they begin above the images that are there: these serve reads better than what would become of them, and let the ancestor
// go. And where the images to be made are there already, they begin above the newest image: what has facts below cannot take the
// place of an image.
func (f *folder) span(p *piece) (lsns page.LSNRange, below, ok bool) {
	lsns.End = f.top(p)
	lsns.Start = lsns.End
	branch := f.s.AncestorLSN != 0
	var above, images page.LSN // where a fold over facts below begins, and where the newest image ends
	for _, i := range p.layers {
		l := &f.s.Layers[i]
		if l.Image && l.LSNs.End > lsns.End {
			return lsns, false, false // facts below it may have been collected
		}
		if l.Image {
			images = max(images, l.LSNs.End)
		}
		lsns.Start = min(lsns.Start, l.LSNs.Start)
	}
	if lsns.Empty() {
		return lsns, false, false
	}
	if lowest := lowestOf(f.retain(p.keys, lsns), lsns); branch || f.imaged(p, lowest) {
		above = images
	}
	if above == 0 {
		return lsns, branch, true
	}
	lsns.Start = above
	for _, i := range p.layers {
		if l := &f.s.Layers[i]; !l.Image && l.LSNs.Start < lsns.Start && lsns.Start < l.LSNs.End {
			lsns.Start = l.LSNs.End
		}
	}
	return lsns, true, lsns.Start < lsns.End
}

// lowestOf gives the lowest read point of a fold.
func lowestOf(retain []page.LSN, lsns page.LSNRange) page.LSN {
	if len(retain) > 0 {
		return retain[0]
	}
	return lsns.End - 1
}

// imaged reports whether all keys of a piece have an image of one LSN.
func (f *folder) imaged(p *piece, at page.LSN) bool {
	var keys []page.Range
	for _, i := range p.layers {
		if l := &f.s.Layers[i]; l.Image && l.LSNs.Start == at {
			keys = append(keys, l.Rest().Ranges()...)
		}
	}
	return page.NewSet(p.keys).Subtract(page.NewSet(keys...)).Empty()
}

// stacked reports whether two of the inputs have keys in common.
func (f *folder) stacked(inputs []int, keys page.Range) bool {
	var rests []page.Range
	for _, i := range inputs {
		for _, r := range f.s.Layers[i].Rest().Ranges() {
			if r = r.Intersect(keys); !r.Empty() && r.Start.Next() != r.End {
				rests = append(rests, r)
			}
		}
	}
	slices.SortFunc(rests, func(a, b page.Range) int { return a.Start.Compare(b.Start) })
	for n := 1; n < len(rests); n++ {
		if rests[n].Start.Less(rests[n-1].End) {
			return true
		}
	}
	return false
}

// top gives the LSN below which a piece is folded.
func (f *folder) top(p *piece) page.LSN {
	top := min(f.s.Cutoff, f.s.DiskConsistentLSN) + 1
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
