package tiered

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// resume finishes rewriting the levels of which a part was published: beside each output that is there the
// rest of the level is rewritten, with the LSNs that the output has. Where the layers no longer are as such a job leaves them it
// gives nothing, and the level is looked at like any other.
func (p *planner) resume() []compaction.Job {
	var begun []int
	for _, i := range p.ordered {
		if l := &p.s.Layers[i]; !l.Image && len(l.Moved) > 0 {
			begun = append(begun, i)
		}
	}
	slices.SortStableFunc(begun, func(a, b int) int { return cmp.Compare(p.s.Layers[a].LSNs.Start, p.s.Layers[b].LSNs.Start) })
	var jobs []compaction.Job
	for len(begun) > 0 {
		lsns, n := p.s.Layers[begun[0]].LSNs, 1
		for ; n < len(begun) && p.s.Layers[begun[n]].LSNs.Start <= lsns.End; n++ {
			lsns.End = max(lsns.End, p.s.Layers[begun[n]].LSNs.End)
		}
		jobs = append(jobs, p.finish(lsns)...)
		begun = begun[n:]
	}
	return jobs
}

// part is what the layer numbered has of some keys.
type part struct {
	keys  page.Range
	layer int
	done  bool // an output
}

// finish gives jobs that rewrite what lies at lsns but for the outputs.
func (p *planner) finish(lsns page.LSNRange) []compaction.Job {
	parts, clean := p.partsAt(lsns)
	if !clean {
		return nil
	}
	var jobs []compaction.Job
	var keys page.Range
	var inputs []int
	end := func() {
		if len(inputs) > 0 {
			slices.SortFunc(inputs, func(a, b int) int { return p.s.Layers[a].ID.Compare(p.s.Layers[b].ID) })
			why := fmt.Sprintf("the rest of a level at %s of which a part was published", lsns)
			jobs = append(jobs, p.retile(lsns, keys, slices.Compact(inputs), 0, why))
		}
		keys, inputs = page.Range{}, nil
	}
	var written page.Key // where the outputs until here end
	for _, t := range parts {
		if t.keys.Start.Less(written) && !t.done || t.done && t.keys.Start.Less(keys.End) {
			return nil // an output and something else overlap
		}
		if t.done {
			end()
			written = t.keys.End
			continue
		}
		if len(inputs) == 0 {
			keys = t.keys
		}
		if keys.End.Less(t.keys.End) {
			keys.End = t.keys.End
		}
		inputs = append(inputs, t.layer)
	}
	end()
	return jobs
}

// partsAt gives what the deltas at lsns have, in the order of keys. The outputs are those that have all of lsns and, of a key whose
// history was cut, those that nothing else overlaps. A delta that straddles is not clean.
func (p *planner) partsAt(lsns page.LSNRange) (parts []part, clean bool) {
	var open []page.Range
	for i := range p.s.Layers {
		l := &p.s.Layers[i]
		if l.Image || !l.LSNs.Overlaps(lsns) {
			continue
		}
		if l.LSNs.Start < lsns.Start || lsns.End < l.LSNs.End {
			return nil, false
		}
		done := len(l.Moved) == 0 && l.LSNs == lsns
		slice := len(l.Moved) == 0 && l.Keys.Start.Next() == l.Keys.End
		for _, keys := range l.Rest().Ranges() {
			parts = append(parts, part{keys, i, done})
			if !done && !slice {
				open = append(open, keys)
			}
		}
	}
	notDone := page.NewSet(open...)
	for i := range parts {
		t := &parts[i]
		t.done = t.done || t.keys.Start.Next() == t.keys.End && !notDone.Overlaps(t.keys)
	}
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(a.keys.Start.Compare(b.keys.Start), p.s.Layers[a.layer].ID.Compare(p.s.Layers[b.layer].ID))
	})
	return parts, true
}
