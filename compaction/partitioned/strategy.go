package partitioned

import (
	"fmt"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// Name is what users call the strategy.
const Name = "partitioned"

// maxJobs bounds the jobs of a plan, so that planning costs no more than a pass over the layers for each. What
// is left comes with the next plan.
const maxJobs = 64

// Strategy plans under the bounds of Options.MaxVisits and MaxRecords.
type Strategy struct{}

var _ compaction.Flusher = Strategy{}

// New gives the strategy, which has no state.
func New() Strategy { return Strategy{} }

// Name gives the strategy's name.
func (Strategy) Name() string { return Name }

// Plan relieves the stacks that are nearly as high as they may be. What a job that was broken off has begun
// comes first.
func (Strategy) Plan(s *compaction.Snapshot) compaction.Plan {
	o := s.Options.WithDefaults()
	p := &planner{s: s, o: o, limit: o.MaxVisits, trigger: trigger(o.MaxVisits), parts: partsOf(s, o)}
	p.found = findStacks(s, p.trigger)
	plan := compaction.Plan{Debt: compaction.Debt{Height: p.found.highest, Limit: p.limit}}
	if jobs := resume(s, &o); len(jobs) > 0 {
		plan.Jobs = jobs
	} else {
		p.relieve()
		plan.Jobs = p.jobs
	}
	for i := range plan.Jobs {
		plan.Debt.Bytes += plan.Jobs[i].Cost.Read + plan.Jobs[i].Cost.Write
	}
	return plan
}

// trigger is the height at which a stack is relieved. While a job runs memory goes on to be flushed: an eighth of the bound,
// one layer at least, is left for that.
func trigger(limit int) int { return max(2, limit-max(1, limit/8)) }

// resume finishes what was published in part: the facts of inputs that have been moved lie in two layers until
// the rest has moved too.
func resume(s *compaction.Snapshot, o *compaction.Options) []compaction.Job {
	var begun []int
	for i := range s.Layers {
		if l := &s.Layers[i]; len(l.Moved) > 0 && !l.Image {
			begun = append(begun, i)
		}
	}
	if len(begun) == 0 {
		return nil
	}
	var rest page.Set
	lsns := s.Layers[begun[0]].LSNs
	var bytes int64
	for _, i := range begun {
		l := &s.Layers[i]
		rest = rest.Union(page.NewSet(l.Keys).Subtract(page.NewSet(l.Moved...)))
		lsns = page.LSNRange{Start: min(lsns.Start, l.LSNs.Start), End: max(lsns.End, l.LSNs.End)}
		bytes += l.Size
	}
	var jobs []compaction.Job
	for _, keys := range rest.Ranges() {
		j := compaction.Job{
			Kind: compaction.Retile, Rect: compaction.Rect{Keys: keys, LSNs: lsns}, Cut: roundCut(keys, lsns, o.CheckpointDistance),
			MaxRecords: o.MaxRecords, Priority: compaction.PriorityL0, Level: 1,
			Reason: fmt.Sprintf("finishes a merge of %d layers that was broken off", len(begun)),
		}
		for _, i := range begun {
			if s.Layers[i].Keys.Overlaps(keys) {
				j.Inputs, j.Obsolete = append(j.Inputs, i), append(j.Obsolete, i)
			}
		}
		jobs = append(jobs, j)
	}
	for i := range jobs {
		c := bytes / int64(len(jobs))
		jobs[i].Cost = compaction.Cost{Read: c, Write: c}
	}
	return jobs
}
