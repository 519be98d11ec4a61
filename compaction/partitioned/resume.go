package partitioned

import (
	"fmt"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// resume finishes what was published in part: the facts of inputs that have been moved lie in two layers until
// the rest has moved too. Who began it may have been another strategy, at another height of the stack, and others may
// have published since what lies across: so what is begun is taken apart into runs of LSNs that have nothing to do with each
// other, and whatever has a share in the keys that are left takes part.
func resume(s *compaction.Snapshot, o *compaction.Options) []compaction.Job {
	var begun []int
	for i := range s.Layers {
		if l := &s.Layers[i]; len(l.Moved) > 0 && !l.Image {
			begun = append(begun, i)
		}
	}
	slices.SortFunc(begun, func(a, b int) int { return s.Layers[a].ID.Compare(s.Layers[b].ID) })
	var jobs []compaction.Job
	for len(begun) > 0 {
		n := together(s, begun)
		jobs = finish(s, o, begun[:n], jobs)
		begun = begun[n:]
	}
	return jobs
}

// together gives how many of some layers, from the oldest on, follow each other without a gap in LSNs.
func together(s *compaction.Snapshot, begun []int) int {
	end := s.Layers[begun[0]].LSNs.End
	for n, i := range begun {
		if s.Layers[i].LSNs.Start > end {
			return n
		}
		end = max(end, s.Layers[i].LSNs.End)
	}
	return len(begun)
}

// finish adds a job for each range of keys that layers which were begun together still have.
func finish(s *compaction.Snapshot, o *compaction.Options, begun []int, jobs []compaction.Job) []compaction.Job {
	var rest []page.Range
	for _, i := range begun {
		rest = append(rest, s.Layers[i].Rest().Ranges()...)
	}
	for _, keys := range page.NewSet(rest...).Ranges() {
		if len(jobs) == maxJobs {
			break
		}
		m := gather(s, begun, keys)
		if slices.ContainsFunc(jobs, func(j compaction.Job) bool { return j.Rect.Overlaps(m.rect) }) {
			continue // it comes with the next plan
		}
		jobs = append(jobs, compaction.Job{
			Kind: compaction.Retile, Inputs: m.inputs, Obsolete: m.inputs, Rect: m.rect, Cut: roundCut(s, m.rect, o.CheckpointDistance),
			MaxRecords: perLayer(o.MaxRecords), Priority: compaction.PriorityL0, Level: 1, Cost: compaction.Cost{Read: m.cost, Write: m.cost},
			Reason: fmt.Sprintf("finishes a merge that was broken off: the rest of %d layers", len(m.inputs)),
		})
	}
	return jobs
}

// gather takes all that deltas have of some keys at the LSNs of those that were begun. What straddles these LSNs takes its
// own with it.
func gather(s *compaction.Snapshot, begun []int, keys page.Range) (m merge) {
	m.rect.Keys = keys
	for _, i := range begun {
		if l := &s.Layers[i]; l.Rest().Overlaps(keys) {
			m.rect.LSNs = span(m.rect.LSNs, l.LSNs)
		}
	}
	for wide := (page.LSNRange{}); wide != m.rect.LSNs; {
		wide = m.rect.LSNs
		m.inputs, m.cost = m.inputs[:0], 0
		for i := range s.Layers {
			l := &s.Layers[i]
			if l.Image || !l.Rect().Overlaps(compaction.Rect{Keys: keys, LSNs: wide}) || !l.Rest().Overlaps(keys) {
				continue
			}
			m.inputs, m.cost = append(m.inputs, i), m.cost+l.Size
			m.rect.LSNs = span(m.rect.LSNs, l.LSNs)
		}
	}
	slices.SortFunc(m.inputs, func(a, b int) int { return s.Layers[a].ID.Compare(s.Layers[b].ID) })
	return m
}

// span gives the range over two, of which the first may be empty.
func span(a, b page.LSNRange) page.LSNRange {
	if a.Empty() {
		return b
	}
	return page.LSNRange{Start: min(a.Start, b.Start), End: max(a.End, b.End)}
}
