package timeline

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/clock"
)

// lanes are the jobs that may run at the same time in a store. Who has to wait is served by urgency: that of the
// kind of job, raised by one for each agingStep that it has waited, and of one urgency by debt, which weighs the
// more the longer it has waited.
type lanes struct {
	clock  clock.Clock
	n      int
	gentle func() bool // whether jobs are to keep to the lane that they have; nil is never
	mu     struct {
		sync.Mutex
		free    int
		waiting []*laneWaiter
	}
}

// agingStep is how long a job waits before it counts as one kind more urgent: long enough for a lane to come free a
// few times, so that a stream of urgent jobs is not held up, and no other waits for ever.
const agingStep = time.Minute

type laneWaiter struct {
	priority compaction.Priority
	debt     int64
	since    time.Time
	granted  chan struct{} // closed with the lane given
}

func newLanes(c clock.Clock, n int) *lanes {
	l := &lanes{clock: c, n: max(n, 1)}
	l.mu.free = l.n
	return l
}

// tryTake takes a lane if one is free that nobody waits for.
func (l *lanes) tryTake() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.free == 0 || len(l.mu.waiting) > 0 {
		return false
	}
	l.mu.free--
	return true
}

// take waits for a lane.
func (l *lanes) take(ctx context.Context, p compaction.Priority, debt int64) error {
	if l.tryTake() {
		return nil
	}
	w := &laneWaiter{priority: p, debt: debt, since: l.clock(), granted: make(chan struct{})}
	l.mu.Lock()
	l.mu.waiting = append(l.mu.waiting, w)
	l.grantLocked()
	l.mu.Unlock()
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.mu.waiting, w); i >= 0 {
		l.mu.waiting = slices.Delete(l.mu.waiting, i, i+1)
	} else {
		l.mu.free++
		l.grantLocked()
	}
	return ctx.Err()
}

// give gives a lane back.
func (l *lanes) give() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.free++
	l.grantLocked()
}

// hold reports whether a job is not to take lanes beside its own.
func (l *lanes) hold() bool { return l.gentle != nil && l.gentle() }

// wanted reports whether somebody waits.
func (l *lanes) wanted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.mu.waiting) > 0
}

// count gives how many lanes are taken, and how many jobs wait for one.
func (l *lanes) count() (taken, waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n - l.mu.free, len(l.mu.waiting)
}

func (l *lanes) grantLocked() {
	for l.mu.free > 0 && len(l.mu.waiting) > 0 {
		best := 0
		now := l.clock()
		for i := range l.mu.waiting {
			if l.mu.waiting[i].before(l.mu.waiting[best], now) {
				best = i
			}
		}
		l.mu.free--
		close(l.mu.waiting[best].granted)
		l.mu.waiting = slices.Delete(l.mu.waiting, best, best+1)
	}
}

func (w *laneWaiter) before(o *laneWaiter, now time.Time) bool {
	if a, b := w.urgency(now), o.urgency(now); a != b {
		return a < b
	}
	return w.weight(now) > o.weight(now)
}

// urgency is less for what comes sooner.
func (w *laneWaiter) urgency(now time.Time) int {
	return max(int(w.priority)-int(now.Sub(w.since)/agingStep), 0)
}

// leastDebt is what a job counts whose plan tells no debt.
const leastDebt = 1 << 20

func (w *laneWaiter) weight(now time.Time) float64 {
	return float64(max(w.debt, leastDebt)) * (1 + now.Sub(w.since).Seconds())
}
