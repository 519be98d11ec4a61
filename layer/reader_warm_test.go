package layer

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// counted counts how often it is told.
type counted struct{ n int }

func (c *counted) LookAhead(context.Context) int { c.n++; return 0 }

// TestWarmIsWhatCollectNeeds warms the index for random keys: a Collect of the same then finds all of it in memory,
// but for the neighbour of a leaf now and then, and the values are those that it finds without.
func TestWarmIsWhatCollectNeeds(t *testing.T) {
	ctx := context.Background()
	rnd := rand.New(rand.NewPCG(7, 7))
	disk := diskOn(virtualfile.NewMem())
	defer func() { require.NoError(t, disk.Close()) }()
	const keys = 20_000
	lsns := page.LSNRange{Start: 0x10, End: 0x20}
	w, err := NewDeltaWriter(disk, "/", testID, page.MinKey, lsns, 1, WriterOptions{})
	require.NoError(t, err)
	for i := range keys {
		for v := range 1 + i%3 {
			require.NoError(t, w.Add(modelKey(i), lsns.Start+page.LSN(v), v == 0, []byte{byte(i), byte(v)}))
		}
	}
	d, err := w.Finish(context.Background(), page.MaxKey)
	require.NoError(t, err)

	open := func() (*Reader, *cache.Blocks) {
		blocks, err := cache.New(cache.Options{Bytes: 64 * blockSize})
		require.NoError(t, err)
		r, err := OpenReader(ctx, disk, blocks, "/", testID, d)
		require.NoError(t, err)
		return r, blocks
	}
	neighbours, rounds := 0, testkit.Size(50, 300, 5000)
	for i := range rounds {
		r, blocks := open()
		from := rnd.IntN(keys)
		set := page.SetOfKeys(modelKey(from))
		switch i % 3 {
		case 1:
			set = page.NewSet(page.Range{Start: modelKey(from), End: modelKey(from + 1 + rnd.IntN(500))})
		case 2:
			set = page.SetOfKeys(modelKey(from), modelKey(from+1+rnd.IntN(2000)), modelKey(keys+5))
		}
		loads := r.Warm(ctx, set, lsns)
		require.Greater(t, loads, 1)
		require.Zero(t, r.Warm(ctx, set, lsns))
		c := NewCollector(set, lsns.End-1)
		var told counted
		c.OnMiss(&told)
		require.NoError(t, r.Collect(ctx, c, set, lsns))
		var tr Trace
		c.Trace(&tr)
		neighbours += tr.IndexLoads
		require.Equal(t, min(tr.IndexLoads, 1), told.n, "told of the first miss")
		require.NotZero(t, c.Len())
		c.Release()
		require.NoError(t, r.Close())
		require.NoError(t, blocks.Close())
	}
	require.Less(t, neighbours, rounds/10)

	r, blocks := open()
	other := page.LSNRange{Start: lsns.End, End: lsns.End + 1}
	require.Zero(t, r.Warm(ctx, page.SetOfKeys(modelKey(1)), other))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.Zero(t, blocks.Stats().Bytes[cache.Index])
	r.Warm(ended, page.SetOfKeys(modelKey(1)), lsns)
	require.Zero(t, blocks.Stats().Bytes[cache.Index], "nothing is read for who does not want it any more")
	require.NoError(t, r.Close())
	require.NoError(t, blocks.Close())
}
