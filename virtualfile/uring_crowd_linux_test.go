package virtualfile

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCrowd shows when the ring is left alone, for how long, and when that is forgotten.
func TestCrowd(t *testing.T) {
	c := crowd{}
	at := time.Second
	yield := func(took time.Duration) {
		c.note(at, at+took)
		at += took
	}
	until := func() time.Duration { return time.Duration(c.until.Load()) }
	for range 5 {
		yield(lateYield)
		yield(lateYield)
		yield(time.Microsecond)
		require.Zero(t, until(), "others have the processor at times")
	}
	for range lateYields {
		require.Zero(t, until())
		yield(lateYield)
	}
	require.Equal(t, at+minCrowded, until())
	pause := minCrowded
	for range 20 { // it is tried again, and is no better
		at = until()
		yield(lateYield)
		pause = min(2*pause, maxCrowded)
		require.Equal(t, at+pause, until())
	}
	require.Equal(t, maxCrowded, pause)
	at = until()
	yield(time.Microsecond)
	require.NotZero(t, until(), "not yet forgotten")
	at = until() + pause
	yield(time.Microsecond)
	require.Zero(t, until())
	for range lateYields {
		require.Zero(t, until())
		yield(lateYield)
	}
	require.Equal(t, at+minCrowded, until())

	c = crowd{born: time.Now()}
	require.False(t, c.now())
	c.until.Store(int64(time.Hour))
	require.True(t, c.now())
	c.until.Store(1)
	require.Eventually(t, func() bool { return !c.now() }, 10*time.Second, time.Microsecond)
}
