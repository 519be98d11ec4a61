package legacy

import (
	"github.com/stratapg/strata/compaction"
)

// Name is what users call the strategy.
const Name = "legacy"

// Strategy plans L0s, then images, then folding.
type Strategy struct{}

// New gives the strategy, which has no state.
func New() Strategy { return Strategy{} }

var _ compaction.Strategy = Strategy{}

// Name gives the strategy's name.
func (Strategy) Name() string { return Name }

// stopFactor times CompactionThreshold is the number of L0s at which ingest is to stop.
const stopFactor = 6

// Plan gives what is due. L0s come before images; a pass of images that has begun goes on, though, unless L0s have piled up to
// ImagePreemptThreshold times CompactionThreshold. Folding comes when nothing else is due.
func (Strategy) Plan(s *compaction.Snapshot) compaction.Plan {
	p := &planner{s: s, o: s.Options.WithDefaults()}
	p.findDeltas()
	if jobs := p.resume(); len(jobs) > 0 {
		p.plan.Jobs = jobs
	} else {
		p.fresh()
	}
	p.plan.Debt.Height, p.plan.Debt.Limit = len(p.l0), stopFactor*p.o.CompactionThreshold
	for i := range p.plan.Jobs {
		c := p.plan.Jobs[i].Cost
		p.plan.Debt.Bytes += c.Read + c.Write
	}
	return p.plan
}

type planner struct {
	s      *compaction.Snapshot
	o      compaction.Options
	l0     []int // oldest first
	deltas []int // those that end first before others
	plan   compaction.Plan
}

// fresh plans where nothing was left unfinished.
func (p *planner) fresh() {
	rewrites := p.level0()
	if len(rewrites) > 0 && (!p.imaging() || p.preempts()) {
		p.plan.Jobs = rewrites
		return
	}
	p.plan.Jobs = append(p.images(), rewrites...)
	if len(p.plan.Jobs) == 0 {
		p.plan.Jobs = p.fold()
	}
}

// preempts reports whether there are so many L0s that images have to wait.
func (p *planner) preempts() bool {
	return len(p.l0) >= p.o.ImagePreemptThreshold*p.o.CompactionThreshold
}

// imaging reports whether a pass of images has begun: the LSN of images changes when L0s are rewritten, so an image there is of
// the present pass.
func (p *planner) imaging() bool {
	for i := range p.s.Layers {
		if l := &p.s.Layers[i]; l.Image && l.LSNs.Start == p.s.LiveLSN {
			return true
		}
	}
	return false
}
