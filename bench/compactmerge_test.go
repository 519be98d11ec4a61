package bench

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// compactCase is a stack of L0 deltas of values of one size under random keys.
type compactCase struct {
	name string
	size int
}

var compactCases = []compactCase{{"small", 100}, {"large", 8192}}

const (
	compactLayers = 16
	// compactCut is the size at which an output ends and the next begins, as L1 deltas do.
	compactCut = 256 << 20
	compactLSN = page.LSN(1 << 20) // LSNs of one layer
)

// compactBench is a stack of layers on a disk.
type compactBench struct {
	disk    *virtualfile.Disk
	blocks  *cache.Blocks
	dir     string
	inputs  []layer.Desc
	readers []*layer.Reader
	bytes   int64
}

// newCompactBench writes layers of so many bytes of values.
func newCompactBench(t testing.TB, fs virtualfile.FS, dir string, c compactCase, volume int) *compactBench {
	disk, err := virtualfile.NewDisk(fs, virtualfile.DiskOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, disk.Close()) })
	blocks, err := cache.New(cache.Options{Bytes: 16 << 20})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, blocks.Close()) })
	g := &compactBench{disk: disk, blocks: blocks, dir: dir}
	for i := range compactLayers {
		d := g.write(t, i, c, volume/c.size)
		r, err := layer.OpenReader(context.Background(), disk, blocks, dir, layer.Identity{}, d)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, r.Close()) })
		g.inputs, g.readers, g.bytes = append(g.inputs, d), append(g.readers, r), g.bytes+d.Size
	}
	return g
}

// write makes one layer of n values.
func (g *compactBench) write(t testing.TB, number int, c compactCase, n int) layer.Desc {
	lsns := page.LSNRange{Start: compactLSN * page.LSN(number+1), End: compactLSN * page.LSN(number+2)}
	w, err := layer.NewDeltaWriter(g.disk, g.dir, layer.Identity{}, page.MinKey, lsns, 1, layer.WriterOptions{})
	require.NoError(t, err)
	defer w.Abort()
	keys := make([]uint32, n)
	for i := range keys {
		keys[i] = murmur32(uint32(number*n + i))
	}
	slices.Sort(keys)
	value := make([]byte, c.size)
	_, _ = rand.NewChaCha8([32]byte{byte(number)}).Read(value)
	for i, k := range keys {
		if err := w.Add(page.Key{F2: 1663, F3: 5, F4: 16384, F6: k}, lsns.Start+page.LSN(i)%compactLSN, false, value); err != nil {
			require.NoError(t, err)
		}
	}
	d, err := w.Finish(context.Background(), page.MaxKey)
	require.NoError(t, err)
	return d
}

// merge writes all that lies in the layers as deltas that end at compactCut, and gives these.
func (g *compactBench) merge(t testing.TB) (outputs []layer.Desc, entries int64) {
	ctx := context.Background()
	m, err := layer.OpenMerge(ctx, g.readers, layer.MergeOptions{})
	require.NoError(t, err)
	defer m.Close()
	lsns := page.LSNRange{Start: compactLSN, End: compactLSN * (compactLayers + 1)}
	var w *layer.DeltaWriter
	finish := func(end page.Key) {
		d, err := w.Finish(context.Background(), end)
		require.NoError(t, err)
		outputs, w = append(outputs, d), nil
	}
	last := page.MinKey
	for {
		batch, err := m.NextBatch(ctx)
		require.NoError(t, err)
		if len(batch) == 0 {
			break
		}
		for i := range batch {
			e := &batch[i]
			if w != nil && w.EstimatedSize() >= compactCut && e.Key != last {
				finish(e.Key)
			}
			if w == nil {
				w, err = layer.NewDeltaWriter(g.disk, g.dir, layer.Identity{}, e.Key, lsns, 2, layer.WriterOptions{})
				require.NoError(t, err)
			}
			if err := w.Add(e.Key, e.LSN, e.WillInit, e.Value); err != nil {
				require.NoError(t, err)
			}
			last = e.Key
		}
	}
	finish(page.MaxKey)
	return outputs, m.Stats().Entries
}

// copy reads the layers and writes as many bytes, a piece of each after the other and no more: what the disk gives.
func (g *compactBench) copy(t testing.TB) {
	const piece = 1 << 20
	name := filepath.Join(g.dir, "copy")
	out, err := g.disk.Create(name)
	require.NoError(t, err)
	w := virtualfile.NewWriter(out, virtualfile.WriterOptions{})
	defer w.Abort()
	buffers := [2]*virtualfile.Buffer{g.disk.Buffers().Get(piece), g.disk.Buffers().Get(piece)}
	full, empty := make(chan virtualfile.Read, len(buffers)), make(chan *virtualfile.Buffer, len(buffers))
	for _, b := range buffers {
		empty <- b
		defer b.Release()
	}
	go func() {
		defer close(full)
		for off := int64(0); ; off += piece {
			any := false
			for i, d := range g.inputs {
				if off >= d.Size {
					continue
				}
				any = true
				f, err := g.disk.Open(filepath.Join(g.dir, d.FileName()))
				r := []virtualfile.Read{{File: f, Off: off, Buf: <-empty, Len: int(min(piece, d.Size-off))}}
				if err == nil {
					err = g.disk.ReadMulti(context.Background(), r)
				}
				if err != nil || r[0].N != r[0].Len {
					t.Errorf("layer %d at %d: %v", i, off, err)
				}
				_ = f.Close()
				full <- r[0]
			}
			if !any {
				return
			}
		}
	}()
	for r := range full {
		_, err := w.Write(r.Buf.Bytes()[:r.Len])
		require.NoError(t, err)
		empty <- r.Buf
	}
	_, err = w.Finish(8192)
	require.NoError(t, err)
	require.NoError(t, out.Sync())
	require.NoError(t, out.Close())
	require.NoError(t, g.disk.Remove(name))
}

func (g *compactBench) remove(t testing.TB, outputs []layer.Desc) {
	for _, d := range outputs {
		require.NoError(t, g.disk.Remove(filepath.Join(g.dir, d.FileName())))
	}
}

// BenchmarkCompactMerge merges 16 L0 deltas, of records of 100 bytes and of values of 8 KiB under random keys, into
// L1 deltas of 256 MiB: read, verified, merged, written with index and checksums, synced and renamed. The layers
// have 64 MiB of values each, 256 MiB in the long form. What MB/s counts is the bytes of the inputs; of cpu-s,
// processor time by all threads and the kernel. peak-MiB is how much the resident memory of the process grew.
// copy_MB/s is a bare loop that reads the same files and writes as much, in turns with the merges.
func BenchmarkCompactMerge(b *testing.B) {
	for _, c := range compactCases {
		b.Run(c.name, func(b *testing.B) {
			g := newCompactBench(b, virtualfile.NewOS(), b.TempDir(), c, testkit.Size(64, 64, 256)<<20)
			var merged, copied, cpu time.Duration
			var entries, peak int64
			for b.Loop() {
				began := time.Now()
				g.copy(b)
				copied += time.Since(began)
				base := resetPeak()
				began, used := time.Now(), usedCPU()
				outputs, n := g.merge(b)
				merged += time.Since(began)
				cpu += usedCPU() - used
				entries, peak = entries+n, max(peak, peakMemory()-base)
				g.remove(b, outputs)
			}
			total := float64(g.bytes) * float64(b.N) / 1e6
			b.ReportMetric(float64(entries)/merged.Seconds(), "entries/s")
			b.ReportMetric(float64(entries)/cpu.Seconds(), "entries/cpu-s")
			b.ReportMetric(total/merged.Seconds(), "MB/s")
			b.ReportMetric(total/cpu.Seconds(), "MB/cpu-s")
			b.ReportMetric(total/copied.Seconds(), "copy_MB/s")
			b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// resetPeak makes the system forget the most memory that the process had, and gives what it has.
func resetPeak() int64 {
	runtime.GC()
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	return peakMemory()
}

// peakMemory is the most resident memory since resetPeak; 0 where the system does not say.
func peakMemory() int64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseInt(string(fields[0]), 10, 64)
	return kib << 10
}

// TestCompactMerge runs what the benchmark runs, once and on little, and compares what comes out.
func TestCompactMerge(t *testing.T) {
	for _, c := range compactCases {
		fs := virtualfile.NewMem()
		g := newCompactBench(t, fs, "/", c, testkit.Size(64, 1024, 4096)<<10)
		g.copy(t)
		outputs, entries := g.merge(t)
		require.Equal(t, int64(compactLayers*(testkit.Size(64, 1024, 4096)<<10/c.size)), entries)
		sum := crc32.NewIEEE()
		for _, d := range outputs {
			v, err := layer.Verify(context.Background(), g.disk, g.dir, layer.Identity{}, d,
				func(k page.Key, lsn page.LSN, _ bool, s layer.Stored) error {
					fmt.Fprintf(sum, "%s %s", k, lsn)
					_, _ = sum.Write(s.Data)
					return nil
				})
			require.NoError(t, err)
			entries -= v.Entries
		}
		require.Zero(t, entries, "entries that came out and are in no layer")
		t.Logf("%s: crc32 %08x of %d layers", c.name, sum.Sum32(), len(outputs))
	}
}
