package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/bench/workload"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/virtualfile"
)

const ingestVolume = 128 << 20

// murmur32 is the finaliser of MurmurHash3.
func murmur32(h uint32) uint32 { return workload.Murmur32(h) }

// ingestBench makes layers in a folder of a test.
type ingestBench struct{ *workload.Ingest }

func newIngestBench(t testing.TB, mode virtualfile.Mode, bytes int64) *ingestBench {
	g, err := workload.NewIngest(t.TempDir(), mode, bytes)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	return &ingestBench{g}
}

// run makes one layer of so many bytes of images, and gives the size of its delta.
func (g *ingestBench) run(t testing.TB, c workload.IngestCase, volume int64, delta bool) int64 {
	size, err := g.Run(context.Background(), c, volume, delta)
	require.NoError(t, err)
	return size
}

func (g *ingestBench) loop(b *testing.B, c workload.IngestCase, delta bool) {
	g.run(b, c, ingestVolume, delta)
	g.Put, g.All = workload.Phase{}, workload.Phase{}
	for b.Loop() {
		g.run(b, c, ingestVolume, delta)
	}
	runs, values := float64(b.N), float64(ingestVolume/c.Size)
	b.ReportMetric(runs*ingestVolume/(1<<20)/g.All.Wall.Seconds(), "MiB/s")
	perValue := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / runs / values }
	b.ReportMetric(perValue(g.Put.Wall), "put-ns")
	b.ReportMetric(perValue(g.Put.CPU), "put-cpu-ns")
	if delta {
		b.ReportMetric(perValue(g.All.Wall-g.Put.Wall), "flush-ns")
		b.ReportMetric(perValue(g.All.CPU-g.Put.CPU), "flush-cpu-ns")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkIngest is Neon's bench_ingest: 128 MiB of images in batches of 16 into one in-memory layer, which
// is then frozen and, but for nodelta, written as an L0 delta: synced and renamed. That the file is removed again
// is not counted: it takes the file system 17 ms and more, and a layer stays. put-ns and flush-ns
// are the phases' parts, per value; with cpu, those of the processors, by all threads and the kernel.
func BenchmarkIngest(b *testing.B) {
	for _, m := range workload.IngestModes {
		b.Run(m.Name, func(b *testing.B) {
			g := newIngestBench(b, m.Mode, 1<<30)
			for _, c := range workload.IngestCases {
				b.Run(c.Name+"/delta", func(b *testing.B) { g.loop(b, c, true) })
				b.Run(c.Name+"/nodelta", func(b *testing.B) { g.loop(b, c, false) })
			}
		})
	}
}

// BenchmarkIngestSpilled is BenchmarkIngest with a budget of 8 MiB: nearly all values go through the ephemeral
// file.
func BenchmarkIngestSpilled(b *testing.B) {
	for _, m := range workload.IngestModes {
		b.Run(m.Name, func(b *testing.B) {
			g := newIngestBench(b, m.Mode, 8<<20)
			for _, c := range workload.IngestCases {
				b.Run(c.Name+"/delta", func(b *testing.B) { g.loop(b, c, true) })
			}
		})
	}
}

// TestIngestLayers runs what the benchmarks run, once and on little, and says what came of it.
func TestIngestLayers(t *testing.T) {
	volume := int64(testkit.Size(1, 4, 4)) << 20
	small := volume / 4
	for _, bytes := range []int64{1 << 30, small} {
		for _, m := range workload.IngestModes {
			g := newIngestBench(t, m.Mode, bytes)
			line := ""
			for _, c := range workload.IngestCases {
				line += fmt.Sprintf(" %s=%d", c.Name, g.run(t, c, volume, true))
			}
			t.Logf("budget %d, %s: bytes of deltas:%s; to the ephemeral file: %d", bytes, m.Name, line, g.Spilled())
			require.Equal(t, bytes == small, g.Spilled() > 0)
		}
	}
}
