package timeline

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestDebt(t *testing.T) {
	p := Pressure{UnflushedStop: 1000, L0Slow: 10, L0Stop: 30}
	for _, c := range []struct {
		unflushed int64
		height    int
		want      float64
	}{
		{0, 0, 0}, {500, 10, 0}, {750, 0, 0.5}, {1000, 0, 1}, {0, 20, 0.5}, {750, 25, 0.75}, {3000, 0, 5},
	} {
		require.InDelta(t, c.want, max(p.debt(c.unflushed, c.height), 0), 1e-9, "%+v", c)
	}
	none := Pressure{}
	require.Zero(t, none.debt(1<<40, 1<<20), "no limit, no debt")
	odd := Pressure{L0Slow: 50, L0Stop: 30}
	require.Less(t, odd.debt(0, 29), 1.0)
	require.GreaterOrEqual(t, odd.debt(0, 30), 1.0)
}

// TestPauseHoldsTheBound: whoever keeps to the pauses never reaches the stop, however much faster than the
// flushes it could be.
func TestPauseHoldsTheBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Pressure{UnflushedStop: 64 << 20}
		batch := rapid.IntRange(1<<10, 1<<18).Draw(t, "batch")
		rate := rapid.Float64Range(32<<20, 1<<30).Draw(t, "flush rate")
		free := rapid.Float64Range(1, 20).Draw(t, "times as fast") * rate
		var unflushed, seconds float64
		for range 20000 {
			d := pause(p.debt(int64(unflushed), 0), batch, rate).Seconds() + float64(batch)/free
			seconds += d
			unflushed = max(unflushed+float64(batch)-d*rate, 0)
			if unflushed >= float64(p.UnflushedStop) {
				t.Fatalf("reached the stop after %.3f s", seconds)
			}
		}
	})
}

func TestPauseBounds(t *testing.T) {
	require.Zero(t, pause(0, 1<<20, 1e6))
	require.Zero(t, pause(0.5, 1<<20, 0), "no flush measured yet")
	require.Equal(t, maxPause, pause(1, 1, 1e9))
	require.Equal(t, maxPause, pause(1.5, 1, 1e9), "beyond the stop")
	require.Equal(t, maxPause, pause(0.999, 1<<30, 1e6))
	require.Equal(t, 100*time.Millisecond, pause(0.5, 1e6, 1e7))
}

func TestFlushMeter(t *testing.T) {
	var m flushMeter
	m.add(0, time.Second)
	m.add(100, 0)
	require.Zero(t, m.get())
	m.add(1000, time.Second)
	require.Equal(t, 1000.0, m.get())
	for range 50 {
		m.add(500, time.Second)
	}
	require.InDelta(t, 500, m.get(), 1)
}
