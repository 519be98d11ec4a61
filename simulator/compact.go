package simulator

import (
	"fmt"
	"slices"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/simulator/mock"
)

// compactor is compaction under way: one job at a time, output by output.
type compactor struct {
	queue     []*mock.Planned
	gcDue     bool // garbage is to be collected before the next job
	stale     bool // the timeline has changed by something else than the jobs of queue
	running   *mock.Work
	due       time.Duration // when running publishes its next output
	jobs      int
	published int
	debt      compaction.Debt
	pace      int64 // of ingest, of fullPace
	idle      int   // plans since the last flush
	flushed   page.LSN
	// done are the jobs done since there was nothing to do: a strategy that wants one of them again would want it for ever.
	done map[name]bool
}

// name is what makes two jobs the same.
type name struct {
	kind compaction.Kind
	rect compaction.Rect
}

const (
	// fullPace is ingest that nothing slows down.
	fullPace = compaction.FullPace
	// maxPlans is how many plans may follow each other before the timeline gets another flush; a strategy that needs more
	// does not come to an end.
	maxPlans = 3_000
	// together is how many images are made after one plan, as by an engine of two lanes; of other jobs it is one.
	together = 8
)

func (c *compactor) number() int {
	c.jobs++
	return c.jobs
}

// forget loses the job under way, as a restart does; what it has published stays.
func (c *compactor) forget() { c.queue, c.running, c.stale = nil, nil, true }

// advance plans where that is due and begins jobs until one takes time.
func (r *run) advance() error {
	c := &r.compact
	if c.running != nil && c.stale {
		if err := r.replan(); err != nil {
			return err
		}
		if len(c.queue) > 0 && c.queue[0].Job.Priority < c.running.Job.Priority {
			c.running = nil // a more urgent job is due; what the other one has published stays
		} else {
			c.queue, c.stale = nil, true // the plan knows nothing of the job under way; only its debt counts
		}
	}
	for c.running == nil {
		if c.gcDue {
			if err := r.drop(); err != nil {
				return err
			}
		}
		if c.stale || len(c.queue) == 0 {
			if err := r.replan(); err != nil || len(c.queue) == 0 {
				return err
			}
		}
		job := c.queue[0]
		c.queue = c.queue[1:]
		w, err := r.t.Prepare(job, c.number())
		if err != nil {
			return err
		}
		if w == nil {
			continue // a layer that it names is gone: the plan after the queue's end sees what is left
		}
		c.running = w
		r.lay()
		for r.cfg.Bandwidth == 0 && c.running != nil {
			if err := r.publish(); err != nil {
				return err
			}
		}
	}
	return nil
}

// replan asks the strategy.
func (r *run) replan() error {
	if err := r.ended(); err != nil {
		return err
	}
	c := &r.compact
	if x := r.t.Flushed(); x != c.flushed {
		c.flushed, c.idle = x, 0
	}
	r.t.SetNow(r.now)
	snap := r.t.Snapshot()
	plan := r.measure.plan(r.strategy, snap)
	if err := checkPlan(snap, &plan); err != nil {
		return err
	}
	if c.idle++; c.idle > maxPlans && len(plan.Jobs) > 0 {
		return fmt.Errorf("%d plans without anything new: the strategy does not come to an end; now it %s over %s", c.idle, plan.Jobs[0].Reason, plan.Jobs[0].Rect)
	}
	if plan.ImagesChecked && c.running == nil { // of a plan that is not followed nothing counts but its debt
		r.t.ImagesChecked()
	}
	if r.chains {
		plan.Jobs = c.choose(plan.Jobs)
	}
	queue, err := r.t.Resolve(plan)
	if err != nil {
		return err
	}
	c.queue, c.stale = queue, false
	if c.debt = plan.Debt; len(queue) == 0 && c.running == nil {
		c.debt = c.debt.Unpaid() // there is no job that ingest could wait for
		c.done = nil
	}
	c.pace = c.debt.PaceAfter(0) // a plan follows each flush
	return nil
}

// choose takes what is done of a plan before the next: as the engine does the first job, or images that share no key.
func (c *compactor) choose(jobs []compaction.Job) []compaction.Job {
	if c.done == nil {
		c.done = map[name]bool{}
	}
	var out []compaction.Job
	for _, j := range jobs {
		shares := func(o compaction.Job) bool { return o.Rect.Keys.Overlaps(j.Rect.Keys) }
		switch {
		case c.done[name{j.Kind, j.Rect}]:
			continue
		case len(out) > 0 && (j.Kind != compaction.Image || slices.ContainsFunc(out, shares)):
			return out
		}
		if out = append(out, j); j.Kind != compaction.Image || len(out) == together {
			return out
		}
	}
	return out
}

// lay says when the running job publishes next.
func (r *run) lay() {
	c := &r.compact
	c.due = r.now
	if bw := r.cfg.Bandwidth; bw > 0 {
		// Microseconds, so that products stay small; and no more of them than a run may last.
		us := c.running.Cost() * int64(time.Second/time.Microsecond) / bw
		c.due += time.Duration(min(us, int64(2*longest/time.Microsecond))) * time.Microsecond
	}
}

// publish makes the next output of the running job visible.
func (r *run) publish() error {
	if err := r.ended(); err != nil {
		return err
	}
	c := &r.compact
	if err := c.running.Publish(); err != nil {
		return err
	}
	r.events.still = 0
	if c.running.Done() {
		if r.chains {
			c.done[name{c.running.Job.Kind, c.running.Job.Rect}] = true
		}
		c.running = nil
	} else {
		r.lay()
	}
	c.published++
	if n := r.cfg.Checks.Full; c.published == 1 || n > 0 && c.published%n == 0 {
		return r.checkAll()
	}
	return nil
}

// checkAll is the check that does not depend on what the last step touched.
func (r *run) checkAll() error {
	if r.cfg.Checks.Off {
		return nil
	}
	if err := r.t.CheckAll(); err != nil {
		return err
	}
	if r.compact.running == nil {
		return r.t.CheckOverlap()
	}
	return nil
}

// step publishes the output that is due and goes on.
func (r *run) step() error {
	if err := r.publish(); err != nil {
		return err
	}
	return r.advance()
}
