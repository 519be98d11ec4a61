package bench

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
)

// memoryStack is what is compacted with little memory: many more layers than are due, of values of 2 KiB, so that their
// indexes count too. The store's memory is four times the budget of its jobs.
func memoryStack(volume int, budget int64) *compactStack {
	const layers, value, parts = 60, 2048, 4
	return &compactStack{compactCase: compactCase{"memory", value}, strategy: "legacy", layers: layers, volume: volume, memory: parts * budget}
}

// BenchmarkCompactMemory compacts 60 L0 deltas in one job and reports the most resident memory above that of the store
// at rest, as a part of the budget of jobs: layers of 16 MiB and a budget of 64 MiB; in the long form 256 MiB of either,
// 16 GB on the disk. Run it with -benchtime 1x.
func BenchmarkCompactMemory(b *testing.B) {
	size := testkit.Size(16, 16, 256) << 20
	budget := int64(testkit.Size(64, 64, 256) << 20)
	s := memoryStack(size, budget)
	for b.Loop() {
		e := newEngineStore(b, b.TempDir(), s)
		r := e.compact(b, s)
		e.close(b)
		b.ReportMetric(float64(r.grown)/(1<<20), "grown-MiB")
		b.ReportMetric(float64(r.grown)/float64(budget), "of-budget")
		b.ReportMetric(float64(r.share.High)/float64(budget), "accounted-of-budget")
		b.ReportMetric(float64(r.bytes)/1e6/r.took.Seconds(), "MB/s")
		b.ReportMetric(0, "ns/op")
	}
}

// TestCompactMemory has a store with the least memory compact 60 layers, whose windows would take four times the
// budget if each had as much as it can use: what jobs take stays within it, and all comes out.
func TestCompactMemory(t *testing.T) {
	const budget = 16 << 20
	s := memoryStack(testkit.Size(64, 512, 4096)<<10, budget)
	e := newEngineStore(t, t.TempDir(), s)
	defer e.close(t)
	r := e.compact(t, s)
	require.Positive(t, r.Jobs)
	require.Zero(t, r.L0Height)
	require.Equal(t, int64(budget), r.share.Limit)
	require.Positive(t, r.share.High)
	require.LessOrEqual(t, r.share.High, r.share.Limit)
	require.Equal(t, r.entries, e.entries(t))
	t.Logf("%d entries, at most %d of %d bytes of the budget", r.entries, r.share.High, r.share.Limit)
}
