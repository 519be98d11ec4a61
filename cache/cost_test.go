//go:build !race

package cache

import (
	"context"
	"runtime"
	"runtime/metrics"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHitAllocatesNothing holds Get, with a loader that captures, and TryGet to their word.
func TestHitAllocatesNothing(t *testing.T) {
	c := newCache(t, 100)
	k := Key{NewFile(), 1}
	get(t, c, k).Release()
	ctx := context.Background()
	failures := 0
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		p, err := c.Get(ctx, k, Index, func(_ context.Context, dst []byte) error {
			failures++
			fill(k, dst)
			return nil
		})
		if err != nil {
			failures++
		}
		p.Release()
		q, ok := c.TryGet(k)
		if !ok {
			failures++
		}
		q.Release()
	}))
	require.Zero(t, failures)
}

// TestCollectorHasNothingToWalk shows that a full cache of 128 MiB adds next to nothing to what a garbage
// collection scans, though its metadata is on the heap: there is no pointer in it.
func TestCollectorHasNothingToWalk(t *testing.T) {
	look := func() (scan, live uint64) {
		runtime.GC()
		s := []metrics.Sample{{Name: "/gc/scan/heap:bytes"}, {Name: "/gc/heap/live:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64(), s[1].Value.Uint64()
	}
	scan, live := look()
	const blocks = 16 << 10
	c := newCache(t, blocks)
	load := func(context.Context, []byte) error { return nil }
	for n := range uint32(blocks + 1000) {
		p, err := c.Get(t.Context(), Key{uint64(n / 64), n % 64}, Index, load)
		require.NoError(t, err)
		p.Release()
	}
	scanFull, liveFull := look()
	const maxScan = 64 << 10
	require.Less(t, scanFull, scan+maxScan)
	require.Less(t, liveFull, live+blocks*metadata)
	require.Greater(t, liveFull, live+blocks*64, "the metadata should show, or this looks at the wrong number")
	runtime.KeepAlive(c)
}
