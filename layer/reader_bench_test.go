package layer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// benchStack writes so many deltas, each with one record of every page, and opens them.
func benchStack(b *testing.B, height, pages int) []*Reader {
	ctx := context.Background()
	disk := diskOn(virtualfile.NewMem())
	b.Cleanup(func() { require.NoError(b, disk.Close()) })
	blocks, err := cache.New(cache.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, blocks.Close()) })
	var rs []*Reader
	for l := range height {
		lsn := page.LSN(8 * (l + 1))
		w, err := NewDeltaWriter(disk, "/", testID, page.MinKey, page.LSNRange{Start: lsn, End: lsn + 8}, 1, WriterOptions{})
		require.NoError(b, err)
		for i := range pages {
			require.NoError(b, w.Add(modelKey(i), lsn, l == 0, fmt.Appendf(nil, "%0200d", i)))
		}
		d, err := w.Finish(context.Background(), page.MaxKey)
		require.NoError(b, err)
		r, err := OpenReader(ctx, disk, blocks, "/", testID, d)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, r.Close()) })
		rs = append(rs, r)
	}
	return rs
}

// BenchmarkVisit asks 20 deltas for a page, newest first, with a warm index, and reads what they name from
// memory: the engine's share of a read under a stack. An operation is a page.
func BenchmarkVisit(b *testing.B) {
	const height, pages = 20, 8192
	rs := benchStack(b, height, pages)
	ctx := context.Background()
	for _, fetch := range []bool{false, true} {
		b.Run(fmt.Sprintf("fetch=%v", fetch), func(b *testing.B) {
			rnd := rand.New(rand.NewPCG(1, 2))
			b.ReportAllocs()
			var c Collector
			for b.Loop() {
				c.Start(page.SetOfKeys(modelKey(rnd.IntN(pages))), 8*height)
				for i := height - 1; i >= 0; i-- {
					require.NoError(b, rs[i].Collect(ctx, &c, c.Keys(), rs[i].desc.LSNs))
				}
				if fetch {
					require.NoError(b, c.Fetch(ctx))
				}
				c.Release()
			}
		})
	}
}
