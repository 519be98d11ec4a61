package legacy

import (
	"fmt"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// minRunUnit is the checkpoint distance that bounds a run where a smaller one is set: small layers cost little
// together.
const minRunUnit = 256 << 20

// findDeltas notes the indices of the deltas, those that end first before others, and of the L0s, oldest first.
func (p *planner) findDeltas() {
	layers := p.s.Layers
	for i := range layers {
		if layers[i].L0() {
			p.l0 = append(p.l0, i)
		}
		if !layers[i].Image {
			p.deltas = append(p.deltas, i)
		}
	}
	slices.SortFunc(p.l0, func(a, b int) int { return layers[a].ID.Compare(layers[b].ID) })
	slices.SortFunc(p.deltas, func(a, b int) int { return byEnd(&layers[a], &layers[b]) })
}

// level0 gives a job for each run of L0s while as many are left as are to start a compaction.
func (p *planner) level0() []compaction.Job {
	var jobs []compaction.Job
	force := p.forceLSN()
	for left := p.l0; len(left) > 0; {
		n := p.run(left)
		why := fmt.Sprintf("%d L0 deltas, %d are enough: the oldest %d", len(left), p.o.CompactionThreshold, n)
		if len(left) < p.o.CompactionThreshold {
			oldest := p.s.Layers[left[0]].LSNs.Start
			if oldest >= force {
				break
			}
			why = fmt.Sprintf("an L0 delta begins at %s, before %s: the oldest %d", oldest, force, n)
		}
		job := p.rewrite(left[:n], page.FullRange, why)
		jobs = append(jobs, job)
		for len(left) > 0 && p.s.Layers[left[0]].LSNs.Start < job.Rect.LSNs.End {
			left = left[1:]
		}
	}
	return jobs
}

// run gives how many of the L0s, from the oldest on, are rewritten together: they follow each other without a gap in LSNs, and
// their size is bounded.
func (p *planner) run(l0 []int) int {
	limit := int64(max(p.o.CompactionUpperLimit, p.o.CompactionThreshold)) * max(p.o.CheckpointDistance, minRunUnit)
	var size int64
	var end page.LSN
	for n, i := range l0 {
		l := &p.s.Layers[i]
		if n > 0 && (l.LSNs.Start > end || size >= limit) {
			return n
		}
		size += l.Size
		end = max(end, l.LSNs.End)
	}
	return len(l0)
}

// rewrite makes L1 of what a run of L0s has of some keys.
func (p *planner) rewrite(run []int, keys page.Range, why string) compaction.Job {
	inputs, lsns := p.gather(run, keys)
	var bytes int64
	for _, i := range inputs {
		bytes += p.s.Layers[i].Size
	}
	rect := compaction.Rect{Keys: keys, LSNs: lsns}
	s, target := p.s, p.o.CheckpointDistance
	return compaction.Job{
		Kind: compaction.Retile, Inputs: inputs, Obsolete: inputs, Rect: rect,
		Cut: func() compaction.Cutter {
			return compaction.Distinct(s, rect, newCutter(lsns, target, holesIn(s, target, len(run))))
		},
		Level: 1, Priority: compaction.PriorityL0,
		Cost:   compaction.Cost{Read: bytes, Write: bytes},
		Reason: why,
	}
}

// gather gives all deltas that lie between the LSNs of a run of L0s, beside these: a job that was broken off may have left a part of
// a key's history there. One that straddles takes the LSNs with it.
func (p *planner) gather(run []int, keys page.Range) (inputs []int, lsns page.LSNRange) {
	lsns = p.s.Layers[run[0]].LSNs
	for _, i := range run {
		lsns.End = max(lsns.End, p.s.Layers[i].LSNs.End)
	}
	for {
		inputs = inputs[:0]
		wider := lsns
		for n := len(p.deltas) - 1; n >= 0 && p.s.Layers[p.deltas[n]].LSNs.End > lsns.Start; n-- {
			l := &p.s.Layers[p.deltas[n]]
			if l.LSNs.Start < lsns.End && overlaps(l, keys) {
				inputs = append(inputs, p.deltas[n])
				wider = page.LSNRange{Start: min(wider.Start, l.LSNs.Start), End: max(wider.End, l.LSNs.End)}
			}
		}
		if wider == lsns {
			slices.Reverse(inputs)
			return inputs, lsns
		}
		lsns = wider
	}
}

// resume finishes jobs of which a part was published: the L0s in a row that lack the same keys.
func (p *planner) resume() []compaction.Job {
	var jobs []compaction.Job
	for left := p.l0; len(left) > 0; {
		n := 1
		moved := p.s.Layers[left[0]].Moved
		for end := p.s.Layers[left[0]].LSNs.End; n < len(left); n++ {
			l := &p.s.Layers[left[n]]
			if l.LSNs.Start > end || !slices.Equal(l.Moved, moved) {
				break
			}
			end = max(end, l.LSNs.End)
		}
		if len(moved) > 0 {
			rest := page.NewSet(page.FullRange).Subtract(page.NewSet(moved...))
			for _, keys := range rest.Ranges() {
				why := fmt.Sprintf("the rest of %d L0 deltas of which a part was published", n)
				jobs = append(jobs, p.rewrite(left[:n], keys, why))
			}
		}
		left = left[n:]
	}
	return jobs
}
