package timeline

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/offheap"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
	"github.com/stratapg/strata/walredo"
)

// watched is redo that notes the most memory there was when it was asked for a page: what is live on the heap, and areas beside it.
type watched struct {
	narrow
	env                 *Env
	calls               int
	heap, offHeap, jobs int64
}

func (w *watched) Redo(ctx context.Context, dst []byte, r *walredo.Request) ([]byte, error) {
	w.calls++
	w.heap, w.offHeap, w.jobs = max(w.heap, liveHeap()), max(w.offHeap, offheap.InUse()), max(w.jobs, w.env.Shares.Jobs.Stats().Used)
	return w.narrow.Redo(ctx, dst, r)
}

func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestFoldsHistoriesBeyondMemory: a page's history of several times the memory of the whole store is folded within the share of jobs, and
// what else is live meanwhile is a small part of it.
func TestFoldsHistoriesBeyondMemory(t *testing.T) {
	const value, memory = 8 << 10, 16 << 20
	versions := testkit.Size(3*memory/value, 6*memory/value, 64*memory/value)
	dir, redo := t.TempDir(), &watched{}
	e := readEnv(t, virtualfile.NewOS(), dir, func(c *Config) {
		c.Redoer, c.CheckpointDistance, c.Memory, c.Scratch = redo, 4<<20, memory, filepath.Join(dir, "scratch")
		c.ValidateIO = false
	})
	redo.env = e
	tl := newTestTimeline(t, e, dir, "main", readFirst, nil)
	k := blockKey(7)
	require.NoError(t, putOne(tl, k, []byte("0 ")))
	var b page.Batch
	room := make([]byte, value)
	for i := range versions {
		b.Reset()
		copy(room, fmt.Sprintf("%020d", i))
		b.PutRecord(k, tl.LastRecordLSN()+8, false, room)
		require.NoError(t, tl.Put(t.Context(), &b))
	}
	require.NoError(t, tl.Flush(t.Context()))
	heap, offHeap := liveHeap(), offheap.InUse()
	foldAtEnd(t, tl)
	v, err := tl.Get(t.Context(), k, tl.LastRecordLSN())
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%d %020d", versions, versions-1), string(v))
	require.Equal(t, 1, entriesOf(t, tl)[k])

	history := int64(versions) * value
	require.GreaterOrEqual(t, redo.calls, int(history/(foldBytes+value)), "it is redone in pieces")
	require.Greater(t, history, 2*int64(memory))
	require.LessOrEqual(t, redo.jobs, e.Shares.Jobs.Limit())
	require.Less(t, redo.offHeap-offHeap, int64(memory))
	require.Less(t, redo.heap-heap, history/8)
	t.Logf("history of %d MiB: %d KiB more on the heap, %d KiB of the share of jobs", history>>20, (redo.heap-heap)>>10, redo.jobs>>10)
}
