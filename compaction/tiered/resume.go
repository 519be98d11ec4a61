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
	done  bool // it has all LSNs and nothing of it has moved: an output
}

// finish gives jobs that rewrite what lies at lsns but for the outputs.
func (p *planner) finish(lsns page.LSNRange) []compaction.Job {
	var parts []part
	for i := range p.s.Layers {
		l := &p.s.Layers[i]
		if l.Image || !l.LSNs.Overlaps(lsns) {
			continue
		}
		if l.LSNs.Start < lsns.Start || lsns.End < l.LSNs.End {
			return nil // it straddles
		}
		if len(l.Moved) == 0 {
			parts = append(parts, part{l.Keys, i, l.LSNs == lsns})
			continue
		}
		for _, keys := range l.Rest().Ranges() {
			parts = append(parts, part{keys, i, false})
		}
	}
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(a.keys.Start.Compare(b.keys.Start), p.s.Layers[a.layer].ID.Compare(p.s.Layers[b.layer].ID))
	})
	var jobs []compaction.Job
	var keys page.Range
	var inputs []int
	end := func() {
		if len(inputs) > 0 {
			slices.SortFunc(inputs, func(a, b int) int { return p.s.Layers[a].ID.Compare(p.s.Layers[b].ID) })
			why := fmt.Sprintf("the rest of a level at %s of which a part was published", lsns)
			jobs = append(jobs, p.retile(lsns, keys, slices.Compact(inputs), 0, why))
		}
		inputs = nil
	}
	var reach page.Key // how far the parts until here go
	for _, t := range parts {
		if t.keys.Start.Less(reach) && (t.done || len(inputs) == 0) {
			return nil // an output and something else overlap
		}
		switch {
		case t.done:
			end()
		case len(inputs) == 0:
			keys, inputs = t.keys, []int{t.layer}
		default:
			inputs = append(inputs, t.layer)
		}
		if reach.Less(t.keys.End) {
			reach = t.keys.End
		}
		if !t.done && keys.End.Less(reach) {
			keys.End = reach
		}
	}
	end()
	return jobs
}
