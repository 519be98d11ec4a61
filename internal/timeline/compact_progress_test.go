package timeline

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/virtualfile"
)

// TestProgressIsTold: as a job goes on it tells how much it has read, of how much, and how long the rest will take, to the store's events
// and to whoever waits for it.
func TestProgressIsTold(t *testing.T) {
	clock := newHandClock()
	var mu sync.Mutex
	var begun, told, ended, listened []CompactionInfo
	note := func(to *[]CompactionInfo) func(CompactionInfo) {
		return func(i CompactionInfo) {
			mu.Lock()
			defer mu.Unlock()
			clock.pass(time.Second)
			*to = append(*to, i)
		}
	}
	e := readEnv(t, virtualfile.NewMem(), "store", func(c *Config) {
		c.Clock = clock.Now
		c.Events.CompactionBegin, c.Events.CompactionProgress, c.Events.CompactionEnd = note(&begun), note(&told), note(&ended)
	})
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	for i := range 4 {
		putLayer(t, tl, 800, i == 0)
	}
	once := false
	_, err := tl.Compact(t.Context(), CompactRequest{Progress: note(&listened), Strategy: &wanting{jobs: func(s *compaction.Snapshot) []compaction.Job {
		if once {
			return nil
		}
		once = true
		return retileJob(s, 200)
	}}})
	require.NoError(t, err)
	require.Len(t, begun, 1)
	require.Len(t, ended, 1)
	require.Greater(t, len(told), 2)
	require.Len(t, listened, 2+len(told))
	before, halfway := begun[0], false
	for _, i := range told {
		require.Equal(t, before.JobID, i.JobID)
		require.Equal(t, before.TotalBytes, i.TotalBytes)
		require.Greater(t, i.BytesRead, before.BytesRead)
		require.GreaterOrEqual(t, i.BytesWritten, before.BytesWritten)
		require.EqualValues(t, min(100*i.BytesRead/i.TotalBytes, 100), i.Percent())
		if i.BytesRead < i.TotalBytes {
			require.InDelta(t, i.Duration.Seconds()*float64(i.TotalBytes-i.BytesRead)/float64(i.BytesRead), i.Left.Seconds(), 0.001)
			halfway = true
		}
		before = i
	}
	require.True(t, halfway)
	end := ended[0]
	require.Equal(t, []int{4, 4, 4}, []int{end.Inputs, end.Outputs, end.Removed})
	require.GreaterOrEqual(t, end.BytesRead, before.BytesRead)
	require.Positive(t, end.BytesWritten)
	require.NoError(t, end.Err)
}
