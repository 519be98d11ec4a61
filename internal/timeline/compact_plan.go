package timeline

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// CompactionConfig says how timelines are compacted.
type CompactionConfig struct {
	// Strategy decides what is done, for timelines that are not told otherwise; nil is none.
	Strategy compaction.Strategy
	// Options are its knobs.
	Options compaction.Options
	// Period is how often each timeline is looked at beside the times that something was flushed; 0 leaves
	// compaction to explicit calls.
	Period time.Duration
	// Lanes is how many jobs of all timelines run at once; 0 is 2.
	Lanes int
	// Bandwidth is how many bytes a second background work may read and write; 0 is no limit.
	Bandwidth int64
}

// defaultLanes keeps one job from holding up all others, and leaves the machine to its users.
const defaultLanes = 2

// ErrNoStrategy says that nobody has said how a timeline is to be compacted.
var ErrNoStrategy = errors.New("no compaction strategy")

// planning is what a timeline knows of its compaction between two plans.
type planning struct {
	strategy atomic.Pointer[compaction.Strategy] // nil: the store's
	debt     atomic.Pointer[debt]
	live     atomic.Pointer[liveSet] // what the last plan looked at
	breakers *breakers
	// stuck is what kept the background's last turn from doing all that it should.
	stuck atomic.Pointer[error]
	// namesHeld says that a job waits for files to be deleted whose names its outputs have.
	namesHeld atomic.Bool
	// looked is when it was looked last whether images are due. The compactor's turn guards it.
	looked struct {
		lsn page.LSN
		at  time.Time
	}
}

// debt is that of a plan, with how many flushes there had been.
type debt struct {
	compaction.Debt
	flushes int64
}

// liveSet are the dense keys that exist at an LSN.
type liveSet struct {
	lsn  page.LSN
	keys page.Set
}

// SetStrategy chooses the strategy of the timeline from the next plan on; nil is the store's. Nothing on disk tells
// strategies apart, so it may be changed at any moment.
func (t *Timeline) SetStrategy(s compaction.Strategy) {
	if s == nil {
		t.plans.strategy.Store(nil)
	} else {
		t.plans.strategy.Store(&s)
	}
	t.plans.debt.Store(nil)
	t.plans.breakers.forget(causePlan) // the other strategy's
	t.mu.Lock()
	t.changedLocked()
	t.mu.Unlock()
	t.wakeCompactor()
}

// strategy gives the one in force.
func (t *Timeline) strategy() (compaction.Strategy, error) {
	if s := t.plans.strategy.Load(); s != nil {
		return *s, nil
	}
	if s := t.env.Compaction.Strategy; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("timeline %s: %w: choose one", t.meta.Name, ErrNoStrategy)
}

// compactOptions are the knobs, with the size of layers as they are flushed.
func (t *Timeline) compactOptions() compaction.Options {
	o := t.env.Compaction.Options
	if o.CheckpointDistance == 0 {
		o.CheckpointDistance = t.env.CheckpointDistance
	}
	return o.WithDefaults()
}

// imageCheck says when it was last looked whether images are due. The caller has the compactor's turn.
func (t *Timeline) imageCheck() (c compaction.ImageCheck) {
	if l := &t.plans.looked; !l.at.IsZero() {
		c.LSN, c.Age = l.lsn, t.env.Clock().Sub(l.at)
	}
	return c
}

// planned is a plan with what it was made of. The view stays pinned until release.
type planned struct {
	compaction.Plan
	view  *view
	snap  *compaction.Snapshot
	descs []layer.Desc
}

// plan asks a strategy what is to be done now. The caller has the compactor's turn.
func (t *Timeline) plan(ctx context.Context, s compaction.Strategy, thorough bool) (*planned, error) {
	v, err := t.pinView()
	if err != nil {
		return nil, err
	}
	p := &planned{view: v}
	if p.snap, p.descs, err = t.planSnapshot(ctx, v, thorough); err != nil {
		v.release()
		return nil, err
	}
	begin := t.env.Clock()
	p.Plan = s.Plan(p.snap)
	t.env.counters.plans.Add(1)
	t.env.counters.planNanos.Add(int64(t.env.Clock().Sub(begin)))
	if p.ImagesChecked && !p.has(compaction.Image) {
		t.plans.looked.lsn, t.plans.looked.at = p.snap.LiveLSN, begin
	}
	return p, nil
}

// lowThresholds has a strategy do what can be done.
func lowThresholds(s *compaction.Snapshot) {
	o := &s.Options
	o.CompactionThreshold, o.ImageCreationThreshold, o.ImageCheckDistance, o.ImageCheckAge = 1, 1, 1, 1
	o.MaxVisits = 1
	s.ImageCheck = compaction.ImageCheck{}
}

// has reports whether a plan has a job of a kind.
func (p *planned) has(k compaction.Kind) bool {
	for i := range p.Jobs {
		if p.Jobs[i].Kind == k {
			return true
		}
	}
	return false
}

// owe has ingest held back by a plan's debt, which background work will pay.
func (t *Timeline) oweCompaction(p *planned) {
	if t.env.Compaction.Period <= 0 || t.env.ReadOnly {
		return
	}
	now := debt{p.Debt, p.view.flushes}
	if before := t.plans.debt.Swap(&now); before != nil && *before == now {
		return // who waits for it to fall would only ask for another plan
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changedLocked()
}

// oweFirst has ingest wait for the first plan, if the strategy keeps a bound: how near it is nobody knows before.
func (t *Timeline) oweFirst() {
	if s, err := t.strategy(); err == nil {
		if _, bounds := s.(compaction.Flusher); bounds {
			t.plans.debt.Store(&debt{Debt: compaction.Debt{Height: 1, Limit: 1}})
		}
	}
}

// compactionDebt is 0 where ingest runs freely and 1 where it stops. Each flush since the plan adds to what reads
// must do, and so will what waits in memory: a layer is begun only if it can be flushed within the bounds.
func (t *Timeline) compactionDebt(v *view) float64 {
	d := t.plans.debt.Load()
	if d == nil {
		return 0
	}
	flushes := int(v.flushes-d.flushes) + len(v.frozen)
	if t.fullView(v) {
		flushes++
	}
	return 1 - float64(d.PaceAfter(flushes))/compaction.FullPace
}
