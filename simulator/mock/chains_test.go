package mock_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/partitioned"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/simulator/mock"
)

// newBounded makes a timeline of pages, and of metadata behind them, whose reads partitioned bounds.
func newBounded(t require.TestingT, pages uint32, o compaction.Options) *mock.Timeline {
	files := page.AuxRange.Start
	space, err := mock.NewSpace([]mock.Region{
		{First: page.RelTag{Spc: 1663, DB: 5, Rel: 16384}.Block(0), Room: pages, Blocks: pages},
		{First: files, Room: 4, Sparse: true, ImageBytes: 100},
	})
	require.NoError(t, err)
	tl, err := mock.New(space, mock.Options{Compaction: o.WithDefaults(), Start: start, Count: true, Chains: true, Preload: true})
	require.NoError(t, err)
	return tl
}

// chainOf gives what planners are told of a key in a delta.
func chainOf(l *mock.Layer, k page.Key) int {
	for _, c := range l.Chains.Long {
		if c.Keys.Contains(k) {
			return c.Records
		}
	}
	return l.Chains.Rest
}

// TestChains: planners are told how many records of a page follow each other, up to the image that a flush puts between them,
// and nothing of metadata.
func TestChains(t *testing.T) {
	tl := newBounded(t, 10, compaction.Options{CheckpointDistance: 1 << 20, MaxRecords: 40}) // ten in a layer
	put := func(key uint32, n int, init bool) {
		for range n {
			_, full := tl.Put([]mock.Record{{Key: key, Size: 10, Init: init}})
			require.False(t, full)
			init = false
		}
	}
	put(1, 1, false)
	put(3, 7, false)
	put(4, 5, false)
	put(4, 3, true) // the longer run counts
	put(6, 25, false)
	put(11, 30, false)
	require.NoError(t, tl.Flush(partitioned.New()))
	want := map[uint32]int{0: 1, 1: 1, 2: 1, 3: 7, 4: 5, 6: 10, 9: 1}
	for _, l := range tl.Live() {
		if l.Image {
			continue
		}
		require.NotNil(t, l.Chains)
		lo, hi := l.Numbers()
		for key, n := range want {
			if lo <= key && key < hi {
				require.Equal(t, n, chainOf(l, tl.Space().Key(key)), "page %d in %s", key, l.ID)
			}
		}
		if lo == 10 {
			require.Zero(t, l.Chains.Most(), "metadata")
			require.Equal(t, int64(300), l.Size, "metadata have no images")
		}
	}
	// Of 25 records the 11th and the 22nd are images.
	require.Equal(t, 3, tl.Read(6, tl.Last()).Records)
	require.Equal(t, int64(1+7+8+23)*10+2*pageBytes+300, tl.Counts().Created)
	require.NoError(t, tl.CheckAll())
}

// TestBoundOnRecords: what planners are told of layers is never less than what a read replays of them, and once they have
// nothing to do no read replays more than the bound.
func TestBoundOnRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pages := rapid.Uint32Range(1, 30).Draw(t, "pages")
		o := compaction.Options{CheckpointDistance: 3000, CompactionTargetSize: 30_000, MaxRecords: rapid.IntRange(4, 40).Draw(t, "bound"), MaxVisits: rapid.IntRange(3, 12).Draw(t, "visits")}
		tl := newBounded(t, pages, o)
		s, number := partitioned.New(), 0
		for range rapid.IntRange(1, 8).Draw(t, "flushes") {
			hot := rapid.Uint32Range(0, pages-1).Draw(t, "hot")
			for full := false; !full; {
				key := hot
				if rapid.Bool().Draw(t, "cold") {
					key = rapid.Uint32Range(0, pages+3).Draw(t, "key")
				}
				_, full = tl.Put([]mock.Record{{Key: key, Size: rapid.Uint32Range(20, 200).Draw(t, "size")}})
			}
			require.NoError(t, tl.Flush(s))
			for range 100 {
				jobs, err := tl.Resolve(s.Plan(tl.Snapshot()))
				require.NoError(t, err)
				if len(jobs) == 0 {
					break
				}
				number++
				w, err := tl.Prepare(jobs[0], number)
				require.NoError(t, err)
				for w != nil && !w.Done() {
					require.NoError(t, w.Publish())
				}
			}
			for key := range pages {
				told := 0
				for _, l := range tl.Live() {
					if k := tl.Space().Key(key); !l.Image && l.Keys.Contains(k) {
						told += chainOf(l, k)
					}
				}
				got := tl.Read(key, tl.Last())
				require.LessOrEqual(t, got.Records, told, "page %d", key)
				require.LessOrEqual(t, got.Records, o.MaxRecords, "page %d", key)
				require.NoError(t, tl.CheckRead(key, tl.Last(), got))
			}
			require.NoError(t, tl.CheckAll())
		}
	})
}
