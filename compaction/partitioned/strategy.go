package partitioned

import (
	"github.com/stratapg/strata/compaction"
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

// Plan makes images where reads replay nearly as many records as they may, and relieves the stacks that are nearly as high as
// they may be. What a job that was broken off has begun comes before these.
func (Strategy) Plan(s *compaction.Snapshot) compaction.Plan {
	o := s.Options.WithDefaults()
	p := &planner{s: s, o: o, limit: o.MaxVisits, trigger: trigger(o.MaxVisits)}
	p.found = p.find()
	plan := compaction.Plan{Debt: compaction.Debt{
		Height: p.found.highest, Limit: p.limit, Free: min(p.trigger, p.limit-1),
		Records: p.found.records, RecordsLimit: o.MaxRecords, RecordsFree: min(recordsTrigger(o.MaxRecords), o.MaxRecords-perLayer(o.MaxRecords)),
		FlushRecords: perLayer(o.MaxRecords),
	}}
	if len(p.found.over)+len(p.found.long) > 0 {
		p.parts = partsOf(s, o)
		p.relieveRecords()
	}
	if jobs := resume(s, &o); len(jobs) > 0 && len(p.jobs) == 0 {
		plan.Jobs = jobs
	} else {
		p.relieve()
		plan.Jobs, plan.ImagesChecked = p.jobs, p.sparse
	}
	for i := range plan.Jobs {
		plan.Debt.Bytes += plan.Jobs[i].Cost.Read + plan.Jobs[i].Cost.Write
	}
	return plan
}

// headroom is the part of the bound, one layer at least, that is left for what is flushed while a job runs.
const headroom = 6

// trigger is the height at which a stack is relieved.
func trigger(limit int) int { return max(2, limit-max(1, limit/headroom)) }
