package timeline

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// TestFlushIsChargedForItsWalk: what a flush holds while it walks through a frozen layer, in memory or partly in a scratch file, counts in
// the share of jobs for as long as it writes, and a flush waits until the share has room for it.
func TestFlushIsChargedForItsWalk(t *testing.T) {
	for _, spilled := range []bool{false, true} {
		dir := t.TempDir()
		e := readEnv(t, virtualfile.NewOS(), dir, func(c *Config) {
			c.Scratch = filepath.Join(dir, "scratch")
			if spilled {
				c.Memory, c.MemChunk = 8<<20, 256<<10
			}
		})
		tl := newTestTimeline(t, e, dir, "main", readFirst, nil)
		value := make([]byte, 8<<10)
		for i := range 600 { // of which the smaller memory has room for most
			var b page.Batch
			b.PutImage(blockKey(i), tl.LastRecordLSN()+8, value)
			require.NoError(t, tl.Put(t.Context(), &b))
		}
		jobs, walk := e.Shares.Jobs, tl.view.Load().open.WalkMemory()
		require.Equal(t, spilled, walk > 16<<20, "values in a scratch file are walked through in windows")
		require.True(t, jobs.TryAcquire(1))
		if !spilled { // what exceeds the limit waits until it is alone
			require.True(t, jobs.TryAcquire(jobs.Limit()-flushMemory-walk))
		}
		flushed := make(chan error, 1)
		go func() { flushed <- tl.Flush(t.Context()) }()
		require.Eventually(t, func() bool { return jobs.Stats().Waiting == 1 }, time.Minute, time.Microsecond)
		require.Zero(t, tl.view.Load().layers.Len())
		jobs.Release(jobs.Used())
		require.NoError(t, <-flushed)
		require.Zero(t, jobs.Used())
		require.GreaterOrEqual(t, jobs.Stats().High, flushMemory+walk)
	}
}
