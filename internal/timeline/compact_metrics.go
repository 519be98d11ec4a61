package timeline

import (
	"sync/atomic"

	"github.com/stratapg/strata/compaction"
)

// CompactionMetrics are counters of compaction, of all timelines.
type CompactionMetrics struct {
	// Jobs counts jobs done, by kind. Errors counts those that failed, and plans that could not be made.
	Jobs   [compaction.Kinds]int64
	Errors int64
	// BytesRead is the size of values read by jobs, BytesWritten that of the files they published, Outputs and Removed
	// how many layers they published and removed.
	BytesRead, BytesWritten, Outputs, Removed int64
	// Plans counts plans made, PlanNanos is what they took.
	Plans, PlanNanos int64
	// ChainImages counts page images put between the records of a key, ChainErrors those that could not be made.
	ChainImages, ChainErrors int64
	// Running is the number of jobs that run, or parts of them beside each other; Waiting that of timelines that wait
	// until they may.
	Running, Waiting int64
	// BreakersOpen is how many causes of failure rest now, BreakerTrips how often one came to.
	BreakersOpen, BreakerTrips int64
	// DebtHeight is the greatest number of deltas that a strategy with a bound says a read must visit, DebtLimit
	// that bound, DebtBytes what waiting jobs of all timelines will read and write.
	DebtHeight, DebtLimit, DebtBytes int64
	// Rate is the bytes a second that background work may read and write now, 0 if there is no limit; Slowed counts the
	// times that it was lessened for the sake of reads, PaceNanos is what background work was held back.
	Rate, Slowed, PaceNanos int64
}

// compactionCounters is CompactionMetrics while it changes.
type compactionCounters struct {
	compactions                                        [compaction.Kinds]atomic.Int64
	compactionErrors                                   atomic.Int64
	compactRead, compactWritten, compactOut, compactIn atomic.Int64
	plans, planNanos                                   atomic.Int64
	chainImages, chainErrors                           atomic.Int64
	breakerTrips                                       atomic.Int64
}

// compaction counts a job that has ended.
func (c *compactionCounters) compaction(i *CompactionInfo) {
	if i.Err == nil {
		c.compactions[i.Kind].Add(1)
	}
	c.compactRead.Add(i.BytesRead)
	c.compactWritten.Add(i.BytesWritten)
	c.compactOut.Add(int64(i.Outputs))
	c.compactIn.Add(int64(i.Removed))
}

// compactionMetrics gives the counters as they are now.
func (e *Env) compactionMetrics() CompactionMetrics {
	c := &e.counters
	m := CompactionMetrics{
		Errors: c.compactionErrors.Load(), BytesRead: c.compactRead.Load(), BytesWritten: c.compactWritten.Load(),
		Outputs: c.compactOut.Load(), Removed: c.compactIn.Load(), Plans: c.plans.Load(), PlanNanos: c.planNanos.Load(),
		ChainImages: c.chainImages.Load(), ChainErrors: c.chainErrors.Load(), BreakerTrips: c.breakerTrips.Load(),
		Rate: e.pace.rate(), Slowed: e.pace.slowed.Load(), PaceNanos: e.pace.waited.Load(),
	}
	for k := range c.compactions {
		m.Jobs[k] = c.compactions[k].Load()
	}
	taken, waiting := e.lanes.count()
	m.Running, m.Waiting = int64(taken), int64(waiting)
	for _, t := range e.heights.timelines() {
		m.BreakersOpen += int64(len(t.plans.breakers.open()))
		if d := t.plans.debt.Load(); d != nil {
			m.DebtBytes += d.Bytes
			if d.Limit > 0 {
				m.DebtHeight, m.DebtLimit = max(m.DebtHeight, int64(d.Height)), max(m.DebtLimit, int64(d.Limit))
			}
		}
	}
	return m
}
