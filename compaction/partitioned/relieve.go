package partitioned

import (
	"fmt"
	"math"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// planner is one run of Plan.
type planner struct {
	s              *compaction.Snapshot
	o              compaction.Options
	limit, trigger int
	parts          []part
	found          stacks
	deltas         *byRange
	jobs           []compaction.Job
	done           page.Set // the keys of jobs
	sparse         bool     // jobs make an image of metadata
	room           []int    // of stackAt
	changes        []change // of addUp
	// taken says of each layer in which of the closures it was last.
	taken    []int32
	closures int32
}

// relieve makes jobs for the segments that are too high.
func (p *planner) relieve() {
	for i := range p.found.over {
		seg := &p.found.over[i]
		if len(p.jobs) >= maxJobs {
			return
		}
		if p.done.Overlaps(seg.keys) {
			continue
		}
		m, merges := p.bestMerge(seg)
		within := seg.keys
		if merges {
			within = m.rect.Keys
		}
		im, images := p.images(within)
		switch {
		case images && (!merges || p.imagesPay(im, m)):
			p.addImages(im)
		case merges:
			p.addMerge(m)
		}
	}
}

// imaging is the way to relieve by images.
type imaging struct {
	parts []int
	cost  int64
	freed int // at least, of each stack
}

// imagesPay compares bytes per delta that a read is freed of. The merge frees all keys of its rectangle, so images of all its
// parts are what it is compared with, even if only those that are too high yet would be made: the others are as high soon.
func (p *planner) imagesPay(im imaging, m merge) bool {
	return !lessProduct(m.cost, int64(im.freed), p.pages(m.rect.Keys), int64(m.freed))
}

// images looks at what images of all parts that are too high, inside of keys, would cost.
func (p *planner) images(keys page.Range) (im imaging, ok bool) {
	i, _ := slices.BinarySearchFunc(p.found.over, keys.Start, func(s segment, k page.Key) int {
		if k.Less(s.keys.End) {
			return 1
		}
		return -1
	})
	for ; i < len(p.found.over) && p.found.over[i].keys.Start.Less(keys.End); i++ {
		seg := &p.found.over[i]
		freed := p.below(seg)
		if freed == 0 {
			continue
		}
		from, to := partsIn(p.parts, seg.keys)
		for k := from; k < to; k++ {
			if n := len(im.parts); n > 0 && im.parts[n-1] == k || p.done.Overlaps(p.parts[k].keys) || p.tried(k) {
				continue
			}
			im.parts = append(im.parts, k)
			im.cost += p.parts[k].cost
		}
		if len(im.parts) > 0 && (im.freed == 0 || freed < im.freed) {
			im.freed = freed
		}
	}
	return im, len(im.parts) > 0
}

// tried reports whether an image of metadata has been planned since the last flush already and made nothing, as there are no
// metadata.
func (p *planner) tried(part int) bool {
	return !p.parts[part].live && p.s.ImageCheck.LSN != 0 && p.s.ImageCheck.LSN >= p.imageLSN()
}

// below counts the deltas that an image at the LSN of the live keys frees reads of.
func (p *planner) below(seg *segment) (n int) {
	for _, i := range seg.stack {
		if p.s.Layers[i].Last() <= p.imageLSN() {
			n++
		}
	}
	return n
}

func (p *planner) imageLSN() page.LSN { return min(p.s.LiveLSN, p.s.DiskConsistentLSN) }

func (p *planner) addImages(im imaging) {
	at := page.LSNRange{Start: p.imageLSN(), End: p.imageLSN() + 1}
	for _, k := range im.parts {
		part := &p.parts[k]
		p.sparse = p.sparse || !part.live
		keys := part.keys
		keys.Start = compaction.ImageStart(p.s, keys.Start)
		if slices.Contains(p.s.Doomed, compaction.ID{Keys: keys, LSNs: at, Image: true, Generation: p.s.Generation}) {
			continue // readers have an image of this name still; a later one will do
		}
		p.jobs = append(p.jobs, compaction.Job{
			Kind: compaction.Image, Rect: compaction.Rect{Keys: keys, LSNs: at}, Priority: compaction.PriorityImage, Level: 1,
			Cost:   compaction.Cost{Read: part.cost, Write: part.cost},
			Reason: fmt.Sprintf("frees reads of %d deltas or more for %d bytes", im.freed, part.cost),
		})
		p.done = p.done.Union(page.NewSet(keys))
	}
}

// merge is the way to relieve by merging.
type merge struct {
	inputs []int
	rect   compaction.Rect
	cost   int64
	freed  int
}

// tries is how many of the runs of a stack that look best are looked at with all that goes with them.
const tries = 8

// run is a piece of a stack, with a guess at what merging it costs.
type run struct {
	from, to int
	cost     int64
}

// better reports whether r costs less than o for each delta freed, or as much and frees more.
func (r run) better(o run) bool {
	freed, other := int64(r.to-r.from), int64(o.to-o.from)
	return lessProduct(r.cost, other, o.cost, freed) || freed > other && !lessProduct(o.cost, freed, r.cost, other)
}

// bestMerge finds the run of a stack whose merge is the cheapest.
func (p *planner) bestMerge(seg *segment) (best merge, ok bool) {
	for _, r := range p.runs(seg) {
		if m, good := p.closure(seg.stack[r.from:r.to+1], &best); good {
			best, ok = m, true
		}
	}
	return best, ok
}

// runs gives the best runs of a stack. A narrow layer in a run with a wide one takes its neighbours with it, so each layer counts
// with its bytes for each byte of live pages of its keys, times those of the widest; all together with no more than the WAL
// between their LSNs, for a narrow layer may be that of a hot spot whose neighbours are thin.
func (p *planner) runs(seg *segment) []run {
	n := min(len(seg.stack), 4*p.limit)
	width, density := make([]int64, n), make([]int64, n)
	for i := range n {
		l := &p.s.Layers[seg.stack[i]]
		width[i] = p.pages(l.Keys)
		density[i] = min(mulDiv(l.Size, perByte, width[i]), math.MaxInt64/int64(n))
	}
	best := make([]run, 0, tries+1)
	for from := range n {
		widest, sum := width[from], density[from]
		for to := from + 1; to < n; to++ {
			widest, sum = max(widest, width[to]), sum+density[to]
			wal := p.s.Layers[seg.stack[from]].LSNs.End - p.s.Layers[seg.stack[to]].LSNs.Start
			r := run{from, to, min(mulDiv(widest, sum, perByte), int64(min(wal, math.MaxInt64)))}
			at := len(best)
			for at > 0 && r.better(best[at-1]) {
				at--
			}
			if at < tries {
				best = slices.Insert(best, at, r)
				best = best[:min(len(best), tries)]
			}
		}
	}
	return best
}

// pages is what images of all parts that keys overlap would take, and one.
func (p *planner) pages(keys page.Range) int64 {
	from, to := partsIn(p.parts, keys)
	n := int64(1)
	for k := from; k < to; k++ {
		n += p.parts[k].cost
	}
	return n
}

// closure adds to a run whatever overlaps its rectangle, so that outputs overlap nothing that stays. It gives up where that
// costs more for each delta freed than the best that is known.
func (p *planner) closure(run []int, best *merge) (m merge, ok bool) {
	m.freed = len(run) - 1
	p.closures++
	in := func(i int) bool { return p.taken[i] == p.closures }
	for _, i := range run {
		p.taken[i] = p.closures
		m.take(p.s, i)
	}
	for again := true; again; {
		if again = false; p.done.Overlaps(m.rect.Keys) || !m.cheaper(best) {
			return m, false
		}
		p.deltas.overlapping(m.rect, func(i int) {
			if !in(i) {
				again = !m.rect.Covers(p.s.Layers[i].Rect()) || again
				p.taken[i] = p.closures
				m.take(p.s, i)
			}
		})
	}
	if !m.cheaper(best) || p.futile(&m) {
		return m, false
	}
	for _, i := range m.inputs {
		if p.s.Layers[i].LSNs == m.rect.LSNs {
			return m, false // an output might bear its name
		}
	}
	slices.Sort(m.inputs)
	return m, true
}

// cheaper compares bytes per delta freed; whatever there is is cheaper than nothing.
func (m *merge) cheaper(best *merge) bool {
	return best.freed == 0 || lessProduct(m.cost, int64(best.freed), best.cost, int64(m.freed))
}

// futile reports whether a merge of the history of one key may give as many layers as it takes. Two slices of it that follow
// each other have more than the target together, so there are at most twice as many as targets go into it, and one; and
// a slice with the name of a layer that waits for its deletion becomes two.
func (p *planner) futile(m *merge) bool {
	if m.rect.Keys.Start.Next() != m.rect.Keys.End {
		return false
	}
	outputs := 2*m.cost/p.o.CheckpointDistance + 1
	if slices.ContainsFunc(p.s.Doomed, func(d compaction.ID) bool { return d.Keys == m.rect.Keys && d.LSNs == m.rect.LSNs }) {
		outputs++
	}
	return int64(len(m.inputs)) <= outputs
}

func (m *merge) take(s *compaction.Snapshot, i int) {
	l := &s.Layers[i]
	if len(m.inputs) == 0 {
		m.rect = l.Rect()
	}
	m.rect.Keys = hull(m.rect.Keys, l.Keys)
	m.rect.LSNs = page.LSNRange{Start: min(m.rect.LSNs.Start, l.LSNs.Start), End: max(m.rect.LSNs.End, l.LSNs.End)}
	m.inputs = append(m.inputs, i)
	m.cost += l.Size
}

func hull(a, b page.Range) page.Range {
	if b.Start.Less(a.Start) {
		a.Start = b.Start
	}
	if a.End.Less(b.End) {
		a.End = b.End
	}
	return a
}

func (p *planner) addMerge(m merge) {
	j := compaction.Job{
		Kind: compaction.Retile, Inputs: m.inputs, Obsolete: m.inputs, Rect: m.rect,
		Cut:        roundCut(p.s, m.rect, p.o.CheckpointDistance),
		MaxRecords: perLayer(p.o.MaxRecords), Priority: compaction.PriorityL0, Level: 1, Cost: compaction.Cost{Read: m.cost, Write: m.cost},
		Reason: fmt.Sprintf("merges %d layers: frees reads of %d deltas for %d bytes", len(m.inputs), m.freed, m.cost),
	}
	p.fold(&j)
	p.jobs = append(p.jobs, j)
	p.done = p.done.Union(page.NewSet(m.rect.Keys))
}

// fold lets a merge that lies below the cutoff keep no more than reads need.
func (p *planner) fold(j *compaction.Job) {
	last := j.Rect.LSNs.End - 1
	if p.s.Cutoff == 0 || last > p.s.Cutoff {
		return
	}
	f := compaction.FoldSpec{Horizon: last, Below: p.s.AncestorLSN != 0}
	for i := range p.s.Layers {
		l := &p.s.Layers[i]
		if l.Image && l.Rect().Overlaps(j.Rect) {
			return // its images would have to be folded in
		}
		if l.Image && last < l.LSNs.Start && l.LSNs.Start <= p.s.Cutoff && l.Keys.Overlaps(j.Rect.Keys) {
			return // what it hides from all reads may be missing
		}
		if l.Keys.Overlaps(j.Rect.Keys) && l.LSNs.Start < j.Rect.LSNs.Start {
			f.Below = true
		}
	}
	for _, r := range p.s.Retain {
		if j.Rect.LSNs.Start <= r.LSN && r.LSN < last {
			f.Retain = append(f.Retain, r.LSN)
		}
	}
	j.Kind, j.Fold, j.Priority = compaction.Fold, &f, compaction.PriorityL0
	j.Reason += ", and folds them"
}
