package bench

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/pg"
)

// importPages is how large the relation is that the benchmark adds to the sample cluster: 512 MiB.
const importPages = 64 << 10

// BenchmarkImportFromDisk imports a cluster from a disk whose pages the kernel has not in memory, in turns with plain loops. One
// reads the same files, from start to end, one file after the other; where nothing is compressed it copies them, since an
// import then writes as much as it reads. The other compresses what was read, on all processors, as an import does. ratio is the
// speed of the import divided by that of the slower loop.
func BenchmarkImportFromDisk(b *testing.B) {
	dir := cluster(b, importPages)
	for name, c := range map[string]layer.Compression{"compressed": {}, "plain": {Disabled: true}} {
		b.Run(name, func(b *testing.B) { benchImport(b, dir, c) })
	}
}

func benchImport(b *testing.B, dir string, c layer.Compression) {
	var bytes int64
	var disk, packing, whole time.Duration
	for b.Loop() {
		dropFiles(b, dir)
		bytes, disk = took(disk, func() int64 {
			if c.Disabled {
				return copyFiles(b, dir)
			}
			return readFiles(b, dir, func([]byte) {})
		})
		if !c.Disabled {
			_, packing = took(packing, func() int64 { return packAll(b, dir) })
		}
		dropFiles(b, dir)
		_, whole = took(whole, func() int64 { return importCold(b, dir, c) })
	}
	b.SetBytes(bytes)
	rate := func(d time.Duration) float64 { return float64(bytes) * float64(b.N) / 1e6 / d.Seconds() }
	b.ReportMetric(rate(whole), "MB/s")
	b.ReportMetric(rate(disk), "disk-MB/s")
	slower := disk
	if !c.Disabled {
		b.ReportMetric(rate(packing), "compressor-MB/s")
		slower = max(disk, packing)
	}
	b.ReportMetric(slower.Seconds()/whole.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
}

// took adds the time of fn.
func took(sum time.Duration, fn func() int64) (int64, time.Duration) {
	begin := time.Now()
	n := fn()
	return n, sum + time.Since(begin)
}

func importCold(tb testing.TB, dir string, c layer.Compression) int64 {
	ctx := context.Background()
	store := filepath.Join(tb.TempDir(), "store")
	e, err := strata.Open(ctx, strata.Options{Dir: store, CreateIfMissing: true, ImageCompression: c})
	require.NoError(tb, err)
	tn, err := e.DefaultTenant(ctx)
	require.NoError(tb, err)
	_, r, err := tn.Import(ctx, strata.ImportOptions{PGData: dir, Name: "main"})
	require.NoError(tb, err)
	require.NoError(tb, e.Close())
	require.NoError(tb, os.RemoveAll(store))
	return r.Bytes
}

// relationFiles lists what an import reads of a cluster.
func relationFiles(tb testing.TB, dir string) (out []string) {
	require.NoError(tb, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.Contains(name, "/pg_wal/") {
			out = append(out, name)
		}
		return err
	}))
	return out
}

// readFiles gives fn the content of all files, a piece at a time.
func readFiles(tb testing.TB, dir string, fn func(piece []byte)) (total int64) {
	buf := make([]byte, barePiece)
	for _, name := range relationFiles(tb, dir) {
		f, err := os.Open(name)
		require.NoError(tb, err)
		for {
			n, err := f.Read(buf)
			fn(buf[:n])
			total += int64(n)
			if err == io.EOF {
				break
			}
			require.NoError(tb, err)
		}
		require.NoError(tb, f.Close())
	}
	return total
}

// copyFiles copies all files into one, durably.
func copyFiles(tb testing.TB, dir string) int64 {
	f, err := os.Create(filepath.Join(tb.TempDir(), "copy"))
	require.NoError(tb, err)
	n := readFiles(tb, dir, func(p []byte) {
		_, err := f.Write(p)
		require.NoError(tb, err)
	})
	require.NoError(tb, f.Sync())
	require.NoError(tb, f.Close())
	require.NoError(tb, os.Remove(f.Name()))
	return n
}

// packAll compresses the pages of all files, which are in memory by now, page by page.
func packAll(tb testing.TB, dir string) int64 {
	pieces := make(chan []byte, 8)
	var g errgroup.Group
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(true))
			if err != nil {
				return err
			}
			var out []byte
			for p := range pieces {
				for ; len(p) >= pg.BlockSize; p = p[pg.BlockSize:] {
					out = z.EncodeAll(p[:pg.BlockSize], out[:0])
				}
			}
			return z.Close()
		})
	}
	n := readFiles(tb, dir, func(p []byte) { pieces <- append([]byte(nil), p...) })
	close(pieces)
	require.NoError(tb, g.Wait())
	return n
}

// dropFiles has the kernel drop what it has of a cluster's files.
func dropFiles(tb testing.TB, dir string) {
	for _, name := range relationFiles(tb, dir) {
		f, err := os.Open(name)
		require.NoError(tb, err)
		require.NoError(tb, f.Sync())
		require.NoError(tb, dropCache(f))
		require.NoError(tb, f.Close())
	}
}

func TestImportFromDisk(t *testing.T) {
	dir := cluster(t, tinyPages)
	dropFiles(t, dir)
	n := importCold(t, dir, layer.Compression{})
	require.Greater(t, n, int64(tinyPages*pg.BlockSize))
	require.Equal(t, copyFiles(t, dir), packAll(t, dir))
	t.Logf("%d bytes", n)
}
