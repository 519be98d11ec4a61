package timeline

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
)

// queue is a lane and who waits for it.
type queue struct {
	*testing.T
	*lanes
	clock *handClock
	order chan string // who got it
	wg    sync.WaitGroup
}

func newQueue(t *testing.T) *queue {
	q := &queue{T: t, clock: newHandClock(), order: make(chan string)}
	q.lanes = newLanes(q.clock.Now, 1)
	require.True(t, q.tryTake())
	return q
}

// wait has somebody wait, who is in the queue when it returns.
func (q *queue) wait(name string, p compaction.Priority, debt int64) {
	_, before := q.count()
	q.wg.Go(func() {
		if q.take(context.Background(), p, debt) == nil {
			q.order <- name
		}
	})
	require.Eventually(q, func() bool { _, n := q.count(); return n > before }, time.Minute, time.Microsecond)
}

// served demands an order in which the lane is given.
func (q *queue) served(names ...string) {
	q.Helper()
	for _, name := range names {
		q.give()
		require.Equal(q, name, <-q.order)
	}
	q.give()
	q.wg.Wait()
	taken, waiting := q.count()
	require.Zero(q, taken+waiting)
}

// TestLanesByUrgency: L0s come before images, these before folding, and that before removals.
func TestLanesByUrgency(t *testing.T) {
	q := newQueue(t)
	q.wait("drop", compaction.PriorityDrop, 1<<50)
	q.wait("fold", compaction.PriorityFold, 1<<40)
	q.clock.pass(time.Second)
	q.wait("image", compaction.PriorityImage, 1<<30)
	q.wait("L0", compaction.PriorityL0, 0)
	q.served("L0", "image", "fold", "drop")
}

// TestLanesByDebt: of timelines with jobs of one kind the one that owes most comes first; but what others owe weighs the more the
// longer they have waited, so that none waits for ever.
func TestLanesByDebt(t *testing.T) {
	q := newQueue(t)
	q.wait("small", compaction.PriorityL0, 10<<20)
	q.wait("large", compaction.PriorityL0, 100<<20)
	q.wait("middle", compaction.PriorityL0, 50<<20)
	q.served("large", "middle", "small")

	q = newQueue(t)
	q.wait("small, and old", compaction.PriorityL0, 10<<20)
	q.clock.pass(9 * time.Second)
	q.wait("large", compaction.PriorityL0, 99<<20)
	q.wait("larger", compaction.PriorityL0, 101<<20)
	q.served("larger", "small, and old", "large")

	q = newQueue(t)
	q.wait("that tells none, and old", compaction.PriorityL0, 0)
	q.clock.pass(time.Minute)
	q.wait("large", compaction.PriorityL0, 50<<20)
	q.served("that tells none, and old", "large")
}

// TestLanesAge: a stream of urgent jobs does not hold up others for ever.
func TestLanesAge(t *testing.T) {
	q := newQueue(t)
	q.wait("fold", compaction.PriorityFold, 10<<20)
	q.clock.pass(agingStep - 1)
	q.wait("image", compaction.PriorityImage, 0)
	q.wait("L0", compaction.PriorityL0, 0)
	q.served("L0", "image", "fold")

	q = newQueue(t)
	q.wait("fold", compaction.PriorityFold, 10<<20)
	q.clock.pass(agingStep)
	q.wait("image", compaction.PriorityImage, 100<<20)
	q.wait("L0", compaction.PriorityL0, 0)
	q.served("L0", "fold", "image")

	q = newQueue(t)
	q.wait("fold", compaction.PriorityFold, 10<<20)
	q.clock.pass(2 * agingStep)
	q.wait("L0", compaction.PriorityL0, 100<<20)
	q.served("fold", "L0")
}

// TestLanesOfThoseWhoWait: nobody overtakes who waits, and who waits no more loses no lane.
func TestLanesOfThoseWhoWait(t *testing.T) {
	l := newLanes(newHandClock().Now, 1)
	l.mu.waiting = []*laneWaiter{{granted: make(chan struct{})}}
	require.True(t, l.wanted())
	require.False(t, l.tryTake(), "somebody waits for the free lane")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l = newLanes(newHandClock().Now, 1)
	require.True(t, l.tryTake())
	for range 100 { // given and cancelled at once: either may be seen first
		ended := make(chan error)
		go func() { ended <- l.take(ctx, compaction.PriorityL0, 0) }()
		l.give()
		if <-ended == nil {
			l.give()
		}
		require.Eventually(t, l.tryTake, time.Minute, time.Microsecond, "the lane is lost")
	}
}

// TestWhoWaitsIsServedAtOnce: whoever comes while a lane is free and others wait is served with them, the most urgent first.
func TestWhoWaitsIsServedAtOnce(t *testing.T) {
	l := newLanes(newHandClock().Now, 1)
	l.mu.waiting = []*laneWaiter{{priority: compaction.PriorityDrop, since: l.clock(), granted: make(chan struct{})}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, l.take(ctx, compaction.PriorityL0, 0))
	require.True(t, l.wanted())
}

// TestLanesOfThoseWhoGiveUp: who is given a lane and cancelled at the same time hands it on.
func TestLanesOfThoseWhoGiveUp(t *testing.T) {
	gaveUp := 0
	for range 100 { // either may be seen first
		q := newQueue(t)
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { first <- q.take(ctx, compaction.PriorityL0, 0) }()
		require.Eventually(t, func() bool { _, n := q.count(); return n == 1 }, time.Minute, time.Microsecond)
		q.wait("next", compaction.PriorityDrop, 0)
		q.mu.Lock()
		cancel()
		q.mu.free++
		q.grantLocked()
		q.mu.Unlock()
		if <-first == nil {
			q.give()
		} else {
			gaveUp++
		}
		select {
		case name := <-q.order:
			require.Equal(t, "next", name)
		case <-time.After(time.Minute):
			t.Fatal("the lane is lost, or nobody was told of it")
		}
		q.give()
		q.wg.Wait()
	}
	require.Positive(t, gaveUp)
}

// TestSpreadGivesWay: pieces of a job are done side by side on lanes that nobody else wants; once another timeline waits, one of
// them is for it, while the job keeps its own.
func TestSpreadGivesWay(t *testing.T) {
	const lanes, pieces = 3, 20
	l := newLanes(newHandClock().Now, lanes)
	require.True(t, l.tryTake())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var together sync.WaitGroup
	together.Add(lanes)
	asks, got := make(chan struct{}), make(chan error, 1)
	err := l.spread(ctx, pieces, func(ctx context.Context, i int) error {
		switch {
		case i < lanes: // the first are under way together
			together.Done()
			together.Wait()
		case i == lanes:
			go func() { got <- l.take(ctx, compaction.PriorityDrop, 0) }()
			for _, n := l.count(); n == 0 && len(got) == 0; _, n = l.count() {
				runtime.Gosched()
			}
			close(asks)
		case i < 2*lanes:
			<-asks
		default: // whoever waits has got a lane before the job is done
			select {
			case err := <-got:
				got <- err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, <-got)
	taken, waiting := l.count()
	require.Equal(t, []int{2, 0}, []int{taken, waiting}, "the job's lane, and the other's")
}

// TestSpreadIsGentle: a job keeps to its own lane while there are reads that would suffer.
func TestSpreadIsGentle(t *testing.T) {
	l := newLanes(newHandClock().Now, 3)
	l.gentle = func() bool { return true }
	require.True(t, l.tryTake())
	var order []int // of one goroutine
	require.NoError(t, l.spread(t.Context(), 10, func(_ context.Context, i int) error {
		order = append(order, i)
		taken, _ := l.count()
		require.Equal(t, 1, taken)
		return nil
	}))
	require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, order)
}

// TestSpreadEndsWithTheFirstError: what has begun ends, and nothing else begins.
func TestSpreadEndsWithTheFirstError(t *testing.T) {
	l := newLanes(newHandClock().Now, 2)
	require.True(t, l.tryTake())
	broken := errors.New("broken")
	var mu sync.Mutex
	begun := 0
	err := l.spread(t.Context(), 100, func(ctx context.Context, i int) error {
		mu.Lock()
		begun++
		mu.Unlock()
		if i == 1 {
			return broken
		}
		<-ctx.Done()
		return ctx.Err()
	})
	require.ErrorIs(t, err, broken)
	require.Equal(t, 2, begun)
	taken, _ := l.count()
	require.Equal(t, 1, taken)
}
