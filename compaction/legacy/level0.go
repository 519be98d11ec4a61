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

// l0s gives the indices of the L0s, oldest first.
func l0s(layers []compaction.Layer) []int {
	var all []int
	for i := range layers {
		if layers[i].L0() {
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b int) int { return layers[a].ID.Compare(layers[b].ID) })
	return all
}

// level0 gives a job for each run of L0s while as many are left as are to start a compaction.
func (p *planner) level0() []compaction.Job {
	var jobs []compaction.Job
	for left := p.l0; len(left) >= p.o.CompactionThreshold; {
		n := p.run(left)
		why := fmt.Sprintf("%d L0 deltas, %d are enough: the oldest %d", len(left), p.o.CompactionThreshold, n)
		jobs = append(jobs, p.rewrite(left[:n], page.FullRange, why))
		left = left[n:]
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
	lsns := p.s.Layers[run[0]].LSNs
	var bytes int64
	for _, i := range run {
		l := &p.s.Layers[i]
		lsns.End = max(lsns.End, l.LSNs.End)
		bytes += l.Size
	}
	rect := compaction.Rect{Keys: keys, LSNs: lsns}
	target := p.o.CheckpointDistance
	return compaction.Job{
		Kind: compaction.Retile, Inputs: run, Obsolete: run, Rect: rect,
		Cut:   func() compaction.Cutter { return &cutter{lsns: lsns, target: target} },
		Level: 1, Priority: compaction.PriorityL0,
		Cost:   compaction.Cost{Read: bytes, Write: bytes},
		Reason: why,
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
