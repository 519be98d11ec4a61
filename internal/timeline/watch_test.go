package timeline

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
)

func TestWatchGrowsOnly(t *testing.T) {
	var w lsnWatch
	w.advance(80)
	w.advance(40)
	require.Equal(t, page.LSN(80), w.get())
}

func TestWatchWaitEnds(t *testing.T) {
	var w lsnWatch
	w.advance(8)
	require.NoError(t, w.wait(context.Background(), nil, 8))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, w.wait(ctx, nil, 16), context.Canceled)
	done := make(chan struct{})
	close(done)
	require.ErrorIs(t, w.wait(context.Background(), done, 16), ErrClosed)
}

// TestWatchMissesNothing has many wait for every step of one that moves on: a wake-up that got lost would
// hang it.
func TestWatchMissesNothing(t *testing.T) {
	const steps, waiters = 2000, 8
	var w lsnWatch
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for range waiters {
		wg.Go(func() {
			for lsn := page.LSN(1); lsn <= steps; lsn++ {
				if err := w.wait(ctx, nil, lsn); err != nil || w.get() < lsn {
					t.Errorf("LSN %d: %v, at %d", lsn, err, w.get())
					return
				}
			}
		})
	}
	for lsn := page.LSN(1); lsn <= steps; lsn++ {
		w.advance(lsn)
	}
	wg.Wait()
}

// TestWatchNextSeesEveryMove: a subscriber that takes the channel first cannot miss the move after it.
func TestWatchNextSeesEveryMove(t *testing.T) {
	var w lsnWatch
	at, changed := w.next()
	require.Equal(t, page.LSN(0), at)
	again, same := w.next()
	require.Equal(t, at, again)
	require.Equal(t, changed, same)
	w.advance(8)
	<-changed
	at, changed = w.next()
	require.Equal(t, page.LSN(8), at)
	select {
	case <-changed:
		t.Fatal("closed without a move")
	default:
	}
}
