package pagebench

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPacerOfAFullQueue: five periods pass without room. Neon's way counts them as missed; an open loop begins all of them at
// once, each from its own time.
func TestPacerOfAFullQueue(t *testing.T) {
	const period, periods = 10 * time.Second, 5
	for _, open := range []bool{false, true} {
		p := newPacer(1/period.Seconds(), open)
		p.due = time.Now().Add(-periods*period - period/2)
		first, slots := p.due, make(chan struct{}, periods+2)
		for range periods + 2 {
			slots <- struct{}{}
		}
		var missed atomic.Int64
		begun, err := p.next(context.Background(), slots, &missed)
		require.NoError(t, err)
		if !open {
			require.EqualValues(t, periods, missed.Load())
			require.WithinDuration(t, time.Now(), begun, period/4)
			require.Equal(t, first.Add((periods+1)*period), p.due, "on the grid, in the future")
			continue
		}
		require.Equal(t, first, begun)
		for i := range periods {
			begun, err := p.next(context.Background(), slots, &missed)
			require.NoError(t, err)
			require.Equal(t, first.Add(time.Duration(i+1)*period), begun)
		}
		require.Zero(t, missed.Load())
	}
}

func TestPacerEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var missed atomic.Int64
	for _, p := range []*pacer{newPacer(0, false), newPacer(1, false), {period: time.Hour, due: time.Now().Add(time.Hour)}} {
		_, err := p.next(ctx, nil, &missed)
		require.ErrorIs(t, err, context.Canceled)
	}
}
