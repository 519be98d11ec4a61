package consumption

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
)

var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// values are those of the metrics that are given.
func values(all []Metric) map[string]uint64 {
	out := map[string]uint64{}
	for _, m := range all {
		out[m.Name] = m.Value
	}
	return out
}

// TestNeonsNumbers are those of its tests: the timeline ends at 50, though 100 was told before.
func TestNeonsNumbers(t *testing.T) {
	told := Told{Written: 100, At: start}
	for _, c := range []struct {
		ancestor, cutoff page.LSN
		since, pitr      uint64
	}{{0, 20, 100, 80}, {40, 20, 60, 60}, {30, 40, 70, 60}} {
		s := State{Now: start.Add(time.Minute), LastRecord: 50, Ancestor: c.ancestor, PITR: true, Cutoff: c.cutoff, CutoffKnown: true}
		all, next := Metrics(s, told)
		require.Equal(t, map[string]uint64{WrittenDelta: 0, Written: 100, WrittenSinceParent: c.since, PITRSinceParent: c.pitr}, values(all))
		require.EqualValues(t, 100, next.Written)
		s.CutoffKnown = false
		all, _ = Metrics(s, told)
		require.NotContains(t, values(all), PITRSinceParent, "it is not known")
		s.PITR = false
		all, _ = Metrics(s, told)
		require.Zero(t, values(all)[PITRSinceParent])
		require.Contains(t, values(all), PITRSinceParent)
	}
}

// TestIncrementsAddUp shows that increments cover time without a gap, and come to what was written since the timeline was
// opened; that nothing absolute goes back; and that the logical size stays what it was while it is not known.
func TestIncrementsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := State{Now: start, LastRecord: 1000, Opened: 1000, OpenedAt: start}
		var told Told
		sum, end, logical := uint64(0), start, uint64(0)
		for range rapid.IntRange(1, 10).Draw(t, "times") {
			s.Now = s.Now.Add(time.Minute)
			s.LastRecord += page.LSN(rapid.Uint64Range(0, 100).Draw(t, "wal"))
			if s.LogicalKnown = rapid.Bool().Draw(t, "known"); s.LogicalKnown {
				s.Logical = rapid.Uint64().Draw(t, "logical")
				logical = s.Logical
			}
			before := told.Written
			all, next := Metrics(s, told)
			told = next
			require.Equal(t, WrittenDelta, all[0].Name)
			require.Equal(t, end, all[0].Start)
			require.Equal(t, s.Now, all[0].Stop)
			end, sum = s.Now, sum+all[0].Value
			require.GreaterOrEqual(t, told.Written, before)
			got, ok := values(all)[LogicalSize]
			require.Equal(t, told.LogicalKnown, ok)
			require.Equal(t, logical, got)
		}
		require.EqualValues(t, s.LastRecord-1000, sum)
	})
}
