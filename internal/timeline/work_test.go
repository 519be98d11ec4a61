package timeline

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/tasks"
)

// TestChoreDoesWhatItIsWokenFor: whoever wakes it has the work begin once more after that; at most one works at a time; once the group
// has ended nobody does.
func TestChoreDoesWhatItIsWokenFor(t *testing.T) {
	g := tasks.New()
	var at, done, asked atomic.Int64
	c := chore{group: g, do: func(context.Context) {
		if at.Add(1) > 1 {
			t.Error("two at once")
		}
		done.Store(asked.Load()) // what was asked for before this work began, at least
		at.Add(-1)
	}}
	for n := range int64(2000) {
		asked.Store(n + 1)
		c.wake()
		if n%100 == 0 {
			require.Eventually(t, func() bool { return done.Load() == n+1 }, time.Minute, time.Microsecond)
		}
	}
	require.Eventually(t, func() bool { return done.Load() == 2000 && c.state.Load() == resting }, time.Minute, time.Microsecond)
	g.Stop()
	asked.Store(3000)
	c.wake()
	c.wake()
	require.EqualValues(t, 2000, done.Load())
	(&chore{}).wake() // one without a group has no work
}

// TestAlarms: each rings once, in the order of times; one that is set anew or cancelled does not ring for its old time.
func TestAlarms(t *testing.T) {
	var s alarms
	rung := make(chan string, 10)
	named := func(name string) *alarm { return &alarm{ring: func() { rung <- name }} }
	first, second, third, never, moved := named("first"), named("second"), named("third"), named("never"), named("moved")
	s.set(never, time.Hour)
	s.set(third, 30*time.Millisecond)
	s.set(second, 20*time.Millisecond)
	s.set(moved, time.Hour)
	s.set(first, time.Millisecond)
	s.cancel(never)
	s.cancel(never)
	s.set(moved, 40*time.Millisecond)
	require.Equal(t, 4, s.len())
	for _, want := range []string{"first", "second", "third", "moved"} {
		require.Equal(t, want, <-rung)
	}
	require.Zero(t, s.len())
	s.set(first, time.Millisecond)
	require.Equal(t, "first", <-rung, "again")
	require.Empty(t, rung)
}

// TestIdleness: the wait doubles while nothing changes, and begins anew when something does.
func TestIdleness(t *testing.T) {
	var i idleness
	a, b := new(view), new(view)
	const period = 20 * time.Second
	require.Equal(t, period, i.next(a, period))
	require.Equal(t, 2*period, i.next(a, period))
	require.Equal(t, 4*period, i.next(a, period))
	require.Equal(t, period, i.next(b, period))
	for range 20 {
		i.next(b, period)
	}
	require.Equal(t, longestIdle, i.next(b, period))
	require.Equal(t, time.Hour, i.next(a, time.Hour), "a longer period stays")
	require.Equal(t, time.Hour, i.next(a, time.Hour))
}
