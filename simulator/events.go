package simulator

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// schedule is what is due when: by time, and by WAL.
type schedule struct {
	tick, tickEvery time.Duration
	tried           int // ticks since tickEvery was set
	still           int // events since a record came in or an output was published
	gc              time.Duration
	flushDue        time.Duration
	history         []moment // for the LSN of a time

	restarts  []int64 // bytes of WAL
	branches  []int64
	nextEvery int64
	temporary []page.LSN
}

// moment says which LSN was reached when.
type moment struct {
	at  time.Duration
	lsn page.LSN
}

const (
	never = time.Duration(math.MaxInt64)
	// ticks is how many times of a run are measured, if nothing stalls.
	ticks = 400
	// longRun is how many times as long as planned a run may take before ticks become rarer.
	longRun = 16
	// maxStill is how many events may follow each other in which nothing comes in and nothing is published.
	maxStill = 100_000
	// longest is what a run may last, in simulated time.
	longest = 100 * 365 * 24 * time.Hour
)

func newSchedule(c *Config, planned time.Duration, bytes int64) schedule {
	s := schedule{tick: never, gc: never, flushDue: never, nextEvery: math.MaxInt64}
	s.tickEvery = max(planned/ticks, 1)
	s.tick = s.tickEvery
	if c.GCPeriod > 0 {
		s.gc = time.Duration(c.GCPeriod)
	}
	if c.Branches.Every > 0 {
		s.nextEvery = c.Branches.Every
	}
	for _, p := range slices.Sorted(slices.Values(c.Restarts)) {
		s.restarts = append(s.restarts, bytes/1000*int64(p))
	}
	for _, p := range slices.Sorted(slices.Values(c.Branches.At)) {
		s.branches = append(s.branches, bytes/1000*int64(p))
	}
	s.flushed(0, c)
	return s
}

// flushed begins the time after which memory is flushed anyway.
func (s *schedule) flushed(now time.Duration, c *Config) {
	if c.FlushAfter > 0 {
		s.flushDue = now + time.Duration(c.FlushAfter)
	}
}

// next is when the next event is due.
func (r *run) next() time.Duration {
	e := &r.events
	d := min(e.tick, e.gc, e.flushDue)
	if r.compact.running != nil {
		d = min(d, r.compact.due)
	}
	return max(d, r.now)
}

// pass lets time pass without ingest.
func (r *run) pass(until time.Duration) error {
	for r.now < until {
		next := min(r.next(), until)
		if err := r.happen(next); err != nil {
			return err
		}
	}
	return nil
}

// happen moves time on and lets happen what is due.
func (r *run) happen(at time.Duration) error {
	if err := r.ended(); err != nil {
		return err
	}
	e := &r.events
	if e.still++; e.still > maxStill || at > longest {
		return r.standstill(at)
	}
	r.now = at
	r.t.SetNow(at)
	e.history = append(e.history, moment{at, r.t.Last()})
	if r.compact.running != nil && r.compact.due <= at {
		if err := r.step(); err != nil {
			return err
		}
	}
	if e.flushDue <= at {
		e.flushed(at, r.cfg)
		if r.t.Unflushed() > 0 {
			if err := r.flush(); err != nil {
				return err
			}
		}
	}
	if e.gc <= at {
		e.gc = at + time.Duration(r.cfg.GCPeriod)
		if _, err := r.collect(); err != nil {
			return err
		}
	}
	if e.tick <= at {
		if e.tried++; e.tried >= longRun*ticks {
			e.tickEvery, e.tried = 2*e.tickEvery, e.tried/2
		}
		e.tick = at + e.tickEvery
		r.t.Forget()
		return r.measure.sample()
	}
	return nil
}

// standstill says why a run would not come to an end.
func (r *run) standstill(at time.Duration) error {
	c := &r.compact
	job := "no job is under way"
	if c.running != nil {
		job = fmt.Sprintf("the next output of a job (%s) costs %d bytes at %d a second", c.running.Job.Reason, c.running.Cost(), r.cfg.Bandwidth)
	}
	return fmt.Errorf("the run stands still: at %v, %d events after anything came in or was published, ingest goes at %d of %d and %s; "+
		"garbage is collected every %v, memory flushed after %v (0 is never): change what is out of proportion",
		at, r.events.still, c.pace, fullPace, job, time.Duration(r.cfg.GCPeriod), time.Duration(r.cfg.FlushAfter))
}

// reached does what is due at so many bytes of WAL.
func (r *run) reached(wal page.LSN) error {
	e := &r.events
	for len(e.branches) > 0 && int64(wal) >= e.branches[0] {
		e.branches = e.branches[1:]
		r.branch()
	}
	if int64(wal) >= e.nextEvery {
		e.nextEvery += r.cfg.Branches.Every
		x := r.branch()
		e.temporary = append(e.temporary, x)
		if len(e.temporary) > max(r.cfg.Branches.Keep, 1) {
			r.leave(e.temporary[0])
			e.temporary = e.temporary[1:]
		}
	}
	for len(e.restarts) > 0 && int64(wal) >= e.restarts[0] {
		e.restarts = e.restarts[1:]
		r.mark("restart", r.t.Flushed())
		r.t.Restart()
		r.compact.forget()
		if err := r.advance(); err != nil {
			return err
		}
	}
	return nil
}

// branch makes one at the newest LSN.
func (r *run) branch() page.LSN {
	x := r.t.Branch()
	r.mark("branch", x)
	r.compact.stale = true
	return x
}

// leave ends a branch, or notes that its child has all but the first half of the keys itself. Jobs that wait were planned
// for reads there, so there has to be another plan.
func (r *run) leave(x page.LSN) {
	r.compact.stale = true
	if r.rand.Permille(r.cfg.Branches.Covered) {
		half := r.t.Space().Key(r.t.Space().Keys() / 2)
		r.t.Release(x, page.Range{Start: half, End: page.MaxKey})
		return
	}
	r.t.DropBranch(x)
	r.mark("drop branch", x)
}

// collect moves the cutoff and removes what no read needs. It gives the number of layers that went, compaction's among them.
func (r *run) collect() (int, error) {
	last := r.t.Last()
	cutoff := last - min(last, page.LSN(r.cfg.Horizon))
	if r.cfg.PITR > 0 {
		cutoff = min(cutoff, r.lsnAt(r.now-time.Duration(r.cfg.PITR)))
	}
	if old := r.t.Cutoff(); cutoff > old {
		r.t.MoveCutoff(cutoff)
		r.mark("cutoff", r.t.Cutoff())
	}
	r.compact.gcDue = true
	if r.compact.running != nil {
		return 0, nil // collected once the job under way has ended: both are done under one lock
	}
	before := r.t.Counts().FilesDeleted
	err := r.advance()
	return int(r.t.Counts().FilesDeleted - before), err
}

// drop does the jobs of garbage collection.
func (r *run) drop() error {
	r.compact.gcDue, r.compact.stale = false, true
	jobs, err := r.t.Resolve(compaction.GC(r.t.Snapshot()))
	if err != nil {
		return err
	}
	for _, j := range jobs {
		w, err := r.t.Prepare(j, r.compact.number())
		if err != nil {
			return err
		}
		for w != nil && !w.Done() {
			if err := w.Publish(); err != nil {
				return err
			}
		}
	}
	return nil
}

// lsnAt gives the newest LSN reached at a time.
func (r *run) lsnAt(at time.Duration) page.LSN {
	i, found := slices.BinarySearchFunc(r.events.history, at, func(m moment, at time.Duration) int {
		switch {
		case m.at < at:
			return -1
		case m.at > at:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	if i < 0 {
		return 0
	}
	return r.events.history[i].lsn
}

func (r *run) mark(kind string, x page.LSN) {
	if r.watch.Mark != nil {
		r.watch.Mark(r.now, Mark{Kind: kind, LSN: x})
	}
	r.measure.note(kind, x)
}
