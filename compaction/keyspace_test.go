package compaction

import (
	"math"
	"testing"
	"time"

	"github.com/stratapg/strata/page"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestPages(t *testing.T) {
	for _, c := range []struct {
		a, b page.Key
		want int64
	}{
		{page.Key{F6: 3}, page.Key{F6: 10}, 7},
		{page.Key{F6: 10}, page.Key{F6: 3}, 0},
		{page.Key{F6: math.MaxUint32}, page.Key{F5: 1}, 1},
		{page.Key{}, page.Key{F5: 2}, math.MaxUint32},
		{page.Key{F4: 1}, page.Key{F4: 2}, math.MaxUint32},
		{page.MinKey, page.MaxKey, math.MaxUint32},
	} {
		require.Equal(t, c.want, Pages(page.Range{Start: c.a, End: c.b}), "%s-%s", c.a, c.b)
	}
}

// TestPartitionTiles shows that parts leave no hole, hold every live key once, and are no larger than asked for, nor smaller than they need
// be.
func TestPartitionTiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rs []page.Range
		for range rapid.IntRange(0, 10).Draw(t, "ranges") {
			k := page.Key{F4: uint32(rapid.IntRange(0, 3).Draw(t, "relation")), F6: uint32(rapid.IntRange(0, 50).Draw(t, "block"))}
			rs = append(rs, page.Range{Start: k, End: k.Add(uint32(rapid.IntRange(1, 40).Draw(t, "blocks")))})
		}
		live := page.NewSet(rs...)
		target := int64(rapid.IntRange(1, 30).Draw(t, "target"))
		parts := Partition(live, target)
		from, all := page.MinKey, page.Set{}
		for i, p := range parts {
			require.Equal(t, from, p.Keys.Start)
			require.False(t, p.Live.Empty())
			require.Equal(t, p.Pages, SetPages(p.Live))
			require.LessOrEqual(t, p.Pages, target)
			require.Equal(t, p.Live.String(), live.Intersect(p.Keys).String())
			if i > 0 {
				first := p.Live.Ranges()[0]
				require.Greater(t, parts[i-1].Pages+min(Pages(first), target), target, "would have fitted")
			}
			from, all = p.Keys.End, all.Union(p.Live)
		}
		require.Equal(t, live.String(), all.String())
		require.Equal(t, from, SparsePart(parts).Keys.Start)
	})
}

// TestBoundary shows that images are neither made above what is durable, nor where L0s lie.
func TestBoundary(t *testing.T) {
	s := shelf()
	require.Equal(t, page.LSN(299), Boundary(s))
	s.Cutoff = 340
	require.Equal(t, page.LSN(340), Boundary(s))
	s.Layers = append(s.Layers, delta(0, 50, 400, 500))
	require.Equal(t, s.DiskConsistentLSN, Boundary(s))
	s.Layers, s.Cutoff = s.Layers[5:7], 90
	require.Equal(t, s.DiskConsistentLSN, Boundary(s), "L0s only")
}

// TestOptions holds the defaults to Neon's, and the bounds of what may be set.
func TestOptions(t *testing.T) {
	require.NoError(t, Options{}.Validate())
	require.Equal(t, Options{
		CheckpointDistance: 256 << 20, CompactionTargetSize: 128 << 20, CompactionThreshold: 10, CompactionUpperLimit: 10,
		ImageCreationThreshold: 3, ImageCheckDistance: 2, ImageCheckAge: 10 * time.Minute, ImageSmallBytes: 2 << 30, ImageSmallAge: 48 * time.Hour,
		ImagePreemptThreshold: 3, ImageForcePercent: 0, MetadataThreshold: 16,
		FoldMinBytes: 5 << 30, FoldRatio: 100, FoldJobBytes: 4096 << 20,
		MaxVisits: 16, MaxRecords: 256, // ours
	}, Options{}.WithDefaults())
	o := Options{CheckpointDistance: 5}.WithDefaults()
	require.Equal(t, int64(5), o.CheckpointDistance)
	err := Options{FoldRatio: -1, MaxVisits: 1 << 30}.Validate()
	require.ErrorContains(t, err, "FoldRatio is -1")
	require.ErrorContains(t, err, "MaxVisits is 1073741824")
}
