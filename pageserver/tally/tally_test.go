package tally_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/pageserver/tally"
)

// TestQuantiles compares quantiles with those of the times themselves: none is shorter, or longer by more than one bucket.
func TestQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c tally.Counts
		var longest time.Duration
		n := rapid.IntRange(1, 50).Draw(t, "n")
		for range n {
			d := time.Duration(rapid.Int64Range(0, int64(10*time.Minute)).Draw(t, "d")) >> rapid.IntRange(0, 40).Draw(t, "shift")
			longest = max(longest, d)
			c.Answered(tally.Page, d, 1)
		}
		r := c.Read().Of[tally.Page]
		require.EqualValues(t, n, r.Requests)
		got := r.Quantile(1)
		require.GreaterOrEqual(t, got, longest)
		if got > tally.Bound(0) {
			require.Less(t, float64(got), 1.5*float64(longest))
		}
		require.LessOrEqual(t, r.Quantile(0.5), got)
		require.Zero(t, r.Since(r).Quantile(0.5))
	})
}

// TestBounds: they rise, so that each time has one bucket, and the longest have the last.
func TestBounds(t *testing.T) {
	var c tally.Counts
	for i := range 53 {
		require.Less(t, tally.Bound(i), tally.Bound(i+1))
		for _, d := range []time.Duration{tally.Bound(i), tally.Bound(i) + 1} {
			c.Answered(tally.Exists, d, 1)
		}
	}
	r := c.Read().Of[tally.Exists]
	require.EqualValues(t, 1, r.Times[0])
	for i := 1; i < 53; i++ {
		require.EqualValues(t, 2, r.Times[i], "bucket %d", i)
	}
	c.Answered(tally.Exists, 24*time.Hour, 3)
	c.Failed(tally.Exists)
	r = c.Read().Of[tally.Exists].Since(r)
	require.EqualValues(t, 3, r.Times[53])
	require.EqualValues(t, 1, r.Failed)
	require.Equal(t, 72*time.Hour, r.Took)
}
