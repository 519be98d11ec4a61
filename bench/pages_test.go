package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/bench/workload"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// place is where a value lies in a file.
type place = workload.Place

// bare reads places past the engine under test, through a Disk of its own.
type bare struct {
	*workload.Bare
	disk *virtualfile.Disk
}

// newBare opens all layers of a timeline, and tells where the values of its keys lie.
func newBare(tb testing.TB, tl *strata.Timeline, dir string, kind virtualfile.EngineKind, unit int64) (*bare, map[page.Key][]place) {
	b, places, err := workload.OpenBare(context.Background(), tl, dir, kind, unit)
	if errors.Is(err, workload.ErrNoEngine) {
		testkit.Skip(tb, "this machine has no io_uring: allow the system calls io_uring_*")
	}
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, b.Close()) })
	return &bare{b, b.Disk()}, places
}

// outcome is what a duel measured: reads/s of either side in all, processor time of a read in µs, and how
// their times compare.
type outcome struct{ ours, theirs, oursCPU, theirsCPU, slower float64 }

// How long rounds are.
const (
	roundReads = workload.RoundReads
	minRound   = workload.MinRound
)

// minPairs of rounds decide, however short the benchmark is told to be.
const minPairs = 31

// duel measures read against bare reads of the same places. slower is the median over pairs of rounds of our time to theirs, so that
// what disturbs the machine for a moment decides nothing.
func duel(b *testing.B, keys []page.Key, depth int, read, raw func(k page.Key) error) outcome {
	d := workload.Duel{Keys: keys, Depth: depth, Ours: read, Theirs: raw}
	var ours, theirs workload.Side
	var ratios []float64
	reads := 0
	pair := func() {
		a, t, n, err := d.Round()
		require.NoError(b, err)
		ours.Wall, ours.CPU, theirs.Wall, theirs.CPU = ours.Wall+a.Wall, ours.CPU+a.CPU, theirs.Wall+t.Wall, theirs.CPU+t.CPU
		ratios, reads = append(ratios, a.Wall.Seconds()/t.Wall.Seconds()), reads+n
	}
	pair() // neither side's buffers and descriptors are there yet
	ours, theirs, ratios, reads = workload.Side{}, workload.Side{}, nil, 0
	for b.Loop() {
		pair()
	}
	for len(ratios) < minPairs {
		pair()
	}
	n := float64(reads)
	return outcome{ours: n / ours.Wall.Seconds(), theirs: n / theirs.Wall.Seconds(),
		oursCPU: ours.CPU.Seconds() * 1e6 / n, theirsCPU: theirs.CPU.Seconds() * 1e6 / n, slower: workload.Median(ratios)}
}

// warm reads every key once, so that all of the index is in memory.
func warm(tb testing.TB, tl *strata.Timeline, keys page.Set) {
	n, err := workload.Warm(context.Background(), tl, keys)
	require.NoError(tb, err)
	require.Positive(tb, n)
}

// readOne gives the function that reads one page through the engine.
func readOne(tl *strata.Timeline) func(k page.Key) error {
	return workload.Reader(context.Background(), tl)
}

// readBare gives the function that reads the same page's bytes without it.
func (b *bare) readBare(places map[page.Key][]place) func(k page.Key) error {
	return b.Reader(context.Background(), places)
}

// pageStore imports a cluster with a relation of so many pages, stored uncompressed.
func pageStore(tb testing.TB, kind virtualfile.EngineKind, pages uint32) (tl *strata.Timeline, dir string, keys []page.Key) {
	dir = filepath.Join(tb.TempDir(), "store")
	tl, _ = importOnce(tb, openStoreAt(tb, dir, strata.Options{
		IOMode: virtualfile.DirectRW, IOEngine: kind, ImageCompression: layer.Compression{Disabled: true},
	}), cluster(tb, pages), "main")
	for i := range pages {
		keys = append(keys, addedRel.Block(i))
	}
	return tl, dir, keys
}

// BenchmarkRandomPage reads single pages at random, each a call of GetVectored, at a number of callers: cold
// data, warm index, images stored as they are. ratio is to a bare loop over the same Disk engine that reads
// the sectors (of 512 bytes) in which the same pages lie, the median of many short rounds; pages/s and
// bare-reads/s are of all rounds together. On a machine whose processors others keep busy it is the ratio of
// what a read costs of them, since neither side then waits for the drive. The folder is
// that of TempDir, which has to be on a disk.
func BenchmarkRandomPage(b *testing.B) {
	for _, e := range workload.Engines {
		b.Run(e.Name, func(b *testing.B) {
			tl, dir, keys := pageStore(b, e.Kind, clusterPages)
			const sector = 512
			raw, places := newBare(b, tl, dir, e.Kind, sector)
			warm(b, tl, page.NewSet(page.Range{Start: keys[0], End: keys[len(keys)-1].Next()}))
			for _, depth := range []int{1, 8, 32, 64} {
				b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
					b.ReportAllocs()
					o := duel(b, keys, depth, readOne(tl), raw.readBare(places))
					b.ReportMetric(o.ours, "pages/s")
					b.ReportMetric(o.theirs, "bare-reads/s")
					b.ReportMetric(o.oursCPU, "cpu-µs/page")
					b.ReportMetric(o.theirsCPU, "bare-cpu-µs/read")
					b.ReportMetric(1/o.slower, "ratio")
				})
			}
		})
	}
}

// noRedo gives a page of zeros for any records, and takes no time.
type noRedo = workload.NoRedo

// stackStore makes a stack of L0 deltas, each with one record of every page.
func stackStore(tb testing.TB, kind virtualfile.EngineKind, height, pages int) (tl *strata.Timeline, dir string, keys []page.Key) {
	dir = filepath.Join(tb.TempDir(), "store")
	m, err := workload.OpenStack(context.Background(), dir, kind, height, pages)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, m.Engine.Close()) })
	return m.Timeline, dir, m.Keys
}

// BenchmarkL0Stack reads single pages at random under a stack of L0 deltas, each with one record of every
// page; redo does nothing. ratio is to a bare batch of reads of the same number and sizes, submitted at once
// and awaited by the same engine: the engine reads whole chunks, of 1 KiB, to verify them.
func BenchmarkL0Stack(b *testing.B) {
	const chunk, pages = 1024, 8192
	for _, e := range workload.Engines {
		b.Run(e.Name, func(b *testing.B) {
			for _, height := range []int{1, 5, 20} {
				b.Run(fmt.Sprintf("height=%d", height), func(b *testing.B) {
					tl, dir, keys := stackStore(b, e.Kind, height, pages)
					raw, places := newBare(b, tl, dir, e.Kind, chunk)
					warm(b, tl, page.NewSet(page.Range{Start: keys[0], End: keys[len(keys)-1].Next()}))
					for _, depth := range []int{1, 2, 4, 8} {
						b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
							b.ReportAllocs()
							o := duel(b, keys, depth, readOne(tl), raw.readBare(places))
							b.ReportMetric(1e6*float64(depth)/o.ours, "µs/op")
							b.ReportMetric(1e6*float64(depth)/o.theirs, "bare-µs/op")
							b.ReportMetric(o.slower, "ratio")
						})
					}
				})
			}
		})
	}
}
