package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// ingestCase is one row of Neon's bench_ingest: images of zeros, of one size, under keys whose last field
// alone differs.
type ingestCase struct {
	name string
	size int
	last func(i uint32) uint32
}

var ingestCases = []ingestCase{
	{"100B-seq", 100, func(i uint32) uint32 { return i }},
	{"100B-rand", 100, murmur32},
	{"100B-rand-reuse", 100, func(i uint32) uint32 { return murmur32(i) & 0x3FF }},
	{"8KiB-seq", 8192, func(i uint32) uint32 { return i }},
}

// murmur32 is the finaliser of MurmurHash3.
func murmur32(h uint32) uint32 {
	h = (h ^ h>>16) * 0x85EBCA6B
	h = (h ^ h>>13) * 0xC2B2AE35
	return h ^ h>>16
}

var ingestModes = []struct {
	name string
	mode virtualfile.Mode
}{{"buffered", virtualfile.Buffered}, {"direct", virtualfile.Direct}, {"direct-rw", virtualfile.DirectRW}}

const (
	ingestVolume = 128 << 20
	ingestBatch  = 16 // puts at a time
	ingestStart  = page.LSN(1000)
)

// ingestBench is where layers are made: in memory, or beyond a budget of so many bytes on disk.
type ingestBench struct {
	disk *virtualfile.Disk
	pool *layer.MemPool
	dir  string
	put  cpuPhase // with the freeze
	all  cpuPhase
}

// cpuPhase is the time that some part of the runs has taken.
type cpuPhase struct{ wall, cpu time.Duration }

// began gives a function that adds the time from now on to the phase.
func (p *cpuPhase) began() (ended func()) {
	wall, cpu := time.Now(), usedCPU()
	return func() {
		p.wall += time.Since(wall)
		p.cpu += usedCPU() - cpu
	}
}

func newIngestBench(t testing.TB, mode virtualfile.Mode, bytes int64) *ingestBench {
	disk, err := virtualfile.NewDisk(virtualfile.NewOS(), virtualfile.DiskOptions{Mode: mode})
	require.NoError(t, err)
	dir := t.TempDir()
	share, err := budget.New(bytes).Share("layers in memory", bytes)
	require.NoError(t, err)
	pool, err := layer.NewMemPool(layer.MemPoolOptions{Disk: disk, Dir: dir, Budget: share, Idle: bytes / 2})
	require.NoError(t, err)
	t.Cleanup(func() {
		pool.Close()
		require.NoError(t, disk.Close())
	})
	return &ingestBench{disk: disk, pool: pool, dir: dir}
}

// run makes one layer of so many bytes of images, writes its delta, and removes that when the time is taken.
func (g *ingestBench) run(t testing.TB, c ingestCase, volume int, delta bool) int64 {
	d := g.timed(t, c, volume, delta)
	if delta {
		require.NoError(t, g.disk.Remove(filepath.Join(g.dir, d.FileName())))
	}
	return d.Size
}

func (g *ingestBench) timed(t testing.TB, c ingestCase, volume int, delta bool) layer.Desc {
	ctx := context.Background()
	defer g.all.began()()
	ended := g.put.began()
	mem := layer.NewMem(ingestStart, g.pool)
	defer mem.Release()
	var b page.Batch
	image := make([]byte, c.size)
	lsn := ingestStart
	for i, n := uint32(0), uint32(volume/c.size); i < n; {
		for range ingestBatch {
			if i == n {
				break
			}
			lsn += page.LSN(c.size)
			b.PutImage(page.Key{F6: c.last(i)}, lsn, image)
			i++
		}
		if err := mem.Put(ctx, &b); err != nil {
			require.NoError(t, err)
		}
		b.Reset()
	}
	mem.Freeze(lsn + 1)
	ended()
	if !delta {
		return layer.Desc{}
	}
	w, err := layer.NewDeltaWriter(g.disk, g.dir, layer.Identity{}, page.MinKey, mem.LSNs(), 1, layer.WriterOptions{})
	require.NoError(t, err)
	defer w.Abort()
	require.NoError(t, mem.AppendTo(ctx, w))
	d, err := w.Finish(context.Background(), page.MaxKey)
	require.NoError(t, err)
	return d
}

func (g *ingestBench) loop(b *testing.B, c ingestCase, delta bool) {
	g.run(b, c, ingestVolume, delta)
	g.put, g.all = cpuPhase{}, cpuPhase{}
	for b.Loop() {
		g.run(b, c, ingestVolume, delta)
	}
	runs, values := float64(b.N), float64(ingestVolume/c.size)
	b.ReportMetric(runs*ingestVolume/(1<<20)/g.all.wall.Seconds(), "MiB/s")
	perValue := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / runs / values }
	b.ReportMetric(perValue(g.put.wall), "put-ns")
	b.ReportMetric(perValue(g.put.cpu), "put-cpu-ns")
	if delta {
		b.ReportMetric(perValue(g.all.wall-g.put.wall), "flush-ns")
		b.ReportMetric(perValue(g.all.cpu-g.put.cpu), "flush-cpu-ns")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkIngest is Neon's bench_ingest: 128 MiB of images in batches of 16 into one in-memory layer, which
// is then frozen and, but for nodelta, written as an L0 delta: synced and renamed. That the file is removed again
// is not counted: it takes the file system 17 ms and more, and a layer stays. put-ns and flush-ns
// are the phases' parts, per value; with cpu, those of the processors, by all threads and the kernel.
func BenchmarkIngest(b *testing.B) {
	for _, m := range ingestModes {
		b.Run(m.name, func(b *testing.B) {
			g := newIngestBench(b, m.mode, 1<<30)
			for _, c := range ingestCases {
				b.Run(c.name+"/delta", func(b *testing.B) { g.loop(b, c, true) })
				b.Run(c.name+"/nodelta", func(b *testing.B) { g.loop(b, c, false) })
			}
		})
	}
}

// BenchmarkIngestSpilled is BenchmarkIngest with a budget of 8 MiB: nearly all values go through the ephemeral
// file.
func BenchmarkIngestSpilled(b *testing.B) {
	for _, m := range ingestModes {
		b.Run(m.name, func(b *testing.B) {
			g := newIngestBench(b, m.mode, 8<<20)
			for _, c := range ingestCases {
				b.Run(c.name+"/delta", func(b *testing.B) { g.loop(b, c, true) })
			}
		})
	}
}

// TestIngestLayers runs what the benchmarks run, once and on little, and says what came of it.
func TestIngestLayers(t *testing.T) {
	for _, bytes := range []int64{1 << 30, 1 << 20} {
		for _, m := range ingestModes {
			g := newIngestBench(t, m.mode, bytes)
			line := ""
			for _, c := range ingestCases {
				line += fmt.Sprintf(" %s=%d", c.name, g.run(t, c, 4<<20, true))
			}
			t.Logf("budget %d, %s: bytes of deltas:%s; to the ephemeral file: %d", bytes, m.name, line, g.pool.Stats().Written)
			require.Equal(t, bytes == 1<<20, g.pool.Stats().Written > 0)
		}
	}
}
