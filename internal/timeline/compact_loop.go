package timeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/tasks"
	"github.com/stratapg/strata/page"
)

// CompactRequest is an explicit call for compaction.
type CompactRequest struct {
	// Strategy takes the place of the timeline's, for this call; nil is the timeline's.
	Strategy compaction.Strategy
	// Thorough does what can be done, whether it is due or not: thresholds are as low as can be.
	Thorough bool
	// Progress, if set, is called as jobs go on, from many goroutines.
	Progress func(CompactionInfo)
}

// CompactReport says what compaction has done, and how the timeline stands now.
type CompactReport struct {
	Jobs                        int   // done
	BytesRead, BytesWritten     int64 // values read, files published
	Outputs, Removed            int   // layers
	Layers, L0Height, MaxDeltas int   // now: of the timeline's own; MaxDeltas are those that the worst read visits
	Debt                        compaction.Debt
}

// add counts a job.
func (c *CompactReport) add(i *CompactionInfo) {
	c.Jobs++
	c.BytesRead += i.BytesRead
	c.BytesWritten += i.BytesWritten
	c.Outputs += i.Outputs
	c.Removed += i.Removed
}

// Compact does all that is to be done, until the strategy has nothing left to do. What was done before an error
// stays done.
func (t *Timeline) Compact(ctx context.Context, req CompactRequest) (CompactReport, error) {
	if t.env.ReadOnly {
		return CompactReport{}, fmt.Errorf("timeline %s: compact: %w", t.meta.Name, ErrReadOnly)
	}
	var report CompactReport
	err := t.whileOpen(ctx, func(ctx context.Context) error {
		l := &loop{t: t, req: req, report: &report}
		return l.run(ctx)
	})
	t.describe(&report)
	t.wakeCompactor() // what is owed has changed
	return report, err
}

// PlanCompaction gives what Compact would begin with, and changes nothing. The debt is what ingest is held back by, whether
// the jobs are those of a thorough run or not.
func (t *Timeline) PlanCompaction(ctx context.Context, req CompactRequest) (s *compaction.Snapshot, p compaction.Plan, err error) {
	err = t.whileOpen(ctx, func(ctx context.Context) error {
		if err := t.compact.turn.take(ctx); err != nil {
			return err
		}
		defer t.compact.turn.give()
		l := &loop{t: t, req: req}
		by, made, err := l.plan(ctx)
		if err != nil {
			return err
		}
		made.view.release()
		s, p = made.snap, made.Plan
		if req.Thorough {
			usual := *s
			usual.Options = t.compactOptions()
			p.Debt = by.Plan(&usual).Debt
		}
		return nil
	})
	return s, p, err
}

// describe says how the timeline stands.
func (t *Timeline) describe(r *CompactReport) {
	m := t.view.Load().layers
	r.Layers, r.L0Height = m.Len(), m.L0().Height()
	r.MaxDeltas = r.L0Height + m.CountDeltas(page.FullRange, page.LSNRange{End: page.MaxLSN})
	if d := t.plans.debt.Load(); d != nil {
		r.Debt = d.Debt
	}
}

// whileOpen runs fn until it ends, the context does, or the timeline is closed, which waits for it.
func (t *Timeline) whileOpen(ctx context.Context, fn func(ctx context.Context) error) error {
	ended := make(chan error, 1)
	err := t.tasks.Go(func(open context.Context) {
		both, cancel := context.WithCancel(open)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		ended <- fn(both)
	})
	if errors.Is(err, tasks.ErrStopped) {
		return t.closedError()
	}
	if err != nil {
		return err
	}
	err = <-ended
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && t.closed.Load() {
		return errors.Join(t.closedError(), err)
	}
	return err
}

// causes are the breakers' names for what may keep a timeline from being compacted.
var causes = []string{causePlan, compaction.Retile.String(), compaction.Image.String(), compaction.Fold.String(), compaction.Drop.String()}

// never is longer than any period.
const never = time.Duration(math.MaxInt64)

// compactNow is one turn of the background. It gives after how long what has failed is worth another try.
func (t *Timeline) compactNow(ctx context.Context) (again time.Duration) {
	l := &loop{t: t, background: true}
	_ = l.run(ctx) // logged, and counted by the breakers
	again, err := t.plans.breakers.failing(causes...)
	if err == nil {
		again = never
	}
	if before := t.plans.stuck.Swap(&err); ctx.Err() == nil && (err != nil || before != nil && *before != nil) {
		t.mu.Lock()
		t.changedLocked()
		t.mu.Unlock()
	}
	return again
}

// stuck says why the debt of compaction does not fall, nil if it may.
func (t *Timeline) stuck() error {
	if err := t.plans.stuck.Load(); err != nil && t.compactionDebt(t.view.Load()) >= 1 {
		return *err
	}
	return nil
}

// loop plans and works in turns.
type loop struct {
	t          *Timeline
	req        CompactRequest
	report     *CompactReport // may be nil
	background bool
	// done are the jobs that were done in this run: a strategy that wants one of them again would want it for ever.
	done map[jobName]bool
}

type jobName struct {
	kind compaction.Kind
	rect compaction.Rect
}

func nameOf(j *compaction.Job) jobName { return jobName{j.Kind, j.Rect} }

// run goes on until there is nothing to be done.
func (l *loop) run(ctx context.Context) error {
	l.done = map[jobName]bool{}
	for {
		more, err := l.step(ctx)
		if err != nil || !more {
			return err
		}
	}
}

// causePlan is the breakers' name for what keeps a timeline from being planned; jobs have their kind's.
const causePlan = "plan"

// plan asks the strategy.
func (l *loop) plan(ctx context.Context) (compaction.Strategy, *planned, error) {
	s := l.req.Strategy
	if s == nil {
		var err error
		if s, err = l.t.strategy(); err != nil {
			return nil, nil, err
		}
	}
	p, err := l.t.plan(ctx, s, l.req.Thorough)
	return s, p, err
}

// step plans, and does what comes first. more says that it is worth planning again.
func (l *loop) step(ctx context.Context) (more bool, err error) {
	t := l.t
	if l.background && !t.plans.breakers.allow(causePlan) {
		return false, nil
	}
	if err := t.compact.turn.take(ctx); err != nil {
		return false, err
	}
	defer t.compact.turn.give()
	err = t.settleSuspects(ctx)
	var s compaction.Strategy
	var p *planned
	if err == nil {
		s, p, err = l.plan(ctx)
	}
	if l.failed(ctx, causePlan, err) {
		return false, err
	}
	defer func() { p.view.release() }() // of the last plan; a view that is nil has been released
	jobs := l.choose(p)
	l.owe(p, len(jobs) > 0)
	if len(jobs) == 0 {
		return false, nil
	}
	if !t.env.lanes.tryTake() {
		if p, jobs, err = l.wait(ctx, p, jobs); err != nil {
			return false, err
		}
	}
	defer t.env.lanes.give()
	if len(jobs) == 0 {
		return false, nil
	}
	return true, l.do(ctx, s, p, jobs)
}

// owe tells ingest of the plan's debt, as the strategy sees it that pays in the background. Debt that has no job which
// could pay it is no reason to wait, unless a job has failed; what is flushed from now on is.
func (l *loop) owe(p *planned, paid bool) {
	if l.req.Strategy != nil || l.req.Thorough {
		return
	}
	if len(p.Jobs) == 0 {
		l.t.plans.breakers.forget(causes...) // what nobody wants any more keeps nothing from being done
	}
	if _, err := l.t.plans.breakers.failing(causes...); err == nil && !paid && l.background {
		p.Debt = p.Debt.Unpaid()
	}
	l.t.oweCompaction(p)
}

// wait waits for a lane, without holding a view, and plans again. After an error there is no lane.
func (l *loop) wait(ctx context.Context, p *planned, jobs []*compaction.Job) (*planned, []*compaction.Job, error) {
	t := l.t
	p.view.release()
	p.view = nil
	if err := t.env.lanes.take(ctx, jobs[0].Priority, p.Debt.Bytes); err != nil {
		return p, nil, err
	}
	_, again, err := l.plan(ctx)
	if err != nil {
		t.env.lanes.give()
		return p, nil, err
	}
	return again, l.choose(again), nil
}

// failed notes how it went with a cause, and reports whether it went wrong.
func (l *loop) failed(ctx context.Context, cause string, err error) bool {
	if err != nil && ctx.Err() != nil {
		return true
	}
	t := l.t
	if t.plans.breakers.note(cause, err) {
		t.env.counters.breakerTrips.Add(1)
	}
	if err == nil {
		return false
	}
	t.env.counters.compactionErrors.Add(1)
	if l.background {
		t.env.Logger.Error("compaction has failed; it is tried again", "timeline", t.meta.Name, "cause", cause, "err", err)
	}
	return true
}

// maxTogether is how many image jobs are handed out at once, in lanes.
const maxTogether = 4

// choose gives the first job that may be tried, and, of images, others that can be made beside it.
func (l *loop) choose(p *planned) (jobs []*compaction.Job) {
	for i := range p.Jobs {
		j := &p.Jobs[i]
		if l.done[nameOf(j)] || l.background && !l.t.plans.breakers.allow(j.Kind.String()) {
			continue
		}
		switch {
		case len(jobs) == 0:
			jobs = append(jobs, j)
		case j.Kind != compaction.Image || len(jobs) == maxTogether*l.t.env.lanes.n || !apart(jobs, j):
			return jobs
		default:
			jobs = append(jobs, j)
		}
		if j.Kind != compaction.Image {
			return jobs
		}
	}
	return jobs
}

// apart reports whether a job shares no key with others.
func apart(jobs []*compaction.Job, j *compaction.Job) bool {
	for _, o := range jobs {
		if o.Rect.Keys.Overlaps(j.Rect.Keys) {
			return false
		}
	}
	return true
}

// do does jobs that do not touch each other.
func (l *loop) do(ctx context.Context, s compaction.Strategy, p *planned, jobs []*compaction.Job) error {
	t := l.t
	infos := make([]CompactionInfo, len(jobs))
	errs := make([]error, len(jobs))
	err := t.env.lanes.spread(ctx, len(jobs), func(ctx context.Context, i int) error {
		infos[i], errs[i] = t.runJob(ctx, s.Name(), p.snap, p.descs, jobs[i], l.req.Progress)
		return errs[i]
	})
	cause := jobs[0].Kind.String()
	if errors.Is(err, errNamesHeld) { // it comes free when readers end
		t.env.Logger.Info("a job of compaction waits for the names of its outputs", "timeline", t.meta.Name, "err", err)
		for _, j := range jobs {
			l.done[nameOf(j)] = true
		}
		t.plans.namesHeld.Store(true)
		return nil
	}
	for i := range jobs {
		if errs[i] == nil && infos[i].JobID != 0 {
			if l.report != nil {
				l.report.add(&infos[i])
			}
			l.done[nameOf(jobs[i])] = true
		}
	}
	if l.failed(ctx, cause, err) {
		return err
	}
	return nil
}
