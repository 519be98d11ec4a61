package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

const (
	// verifyFiles layers of verifyBytes are read; a loop reads barePiece at a time, as much as Verify does.
	verifyFiles = 4
	verifyBytes = 64 << 20
	barePiece   = 1 << 20
)

// BenchmarkVerify verifies whole layer files, one for each processor at once as "strata verify layers" does, in
// turns with a bare loop that reads the same files one after the other, from start to end, through the same
// engine: ratio is the speed of verifying divided by the loop's.
// GB/cpu-s is what one processor verifies in a second of its time, copies of the file system in memory
// included; what the machine does besides does not count.
func BenchmarkVerify(b *testing.B) {
	for _, kind := range []string{"images", "compressed", "records"} {
		b.Run("disk/"+kind, func(b *testing.B) {
			disk, err := virtualfile.NewDisk(virtualfile.NewOS(), virtualfile.DiskOptions{})
			require.NoError(b, err)
			defer disk.Close()
			benchVerify(b, disk, b.TempDir(), kind)
		})
		b.Run("memory/"+kind, func(b *testing.B) {
			disk, err := virtualfile.NewDisk(virtualfile.NewMem(), virtualfile.DiskOptions{})
			require.NoError(b, err)
			defer disk.Close()
			benchVerify(b, disk, "/", kind)
		})
	}
}

func benchVerify(b *testing.B, disk *virtualfile.Disk, dir, kind string) {
	ctx := context.Background()
	id := layer.Identity{Tenant: page.TenantID{1}, Timeline: page.TimelineID{2}}
	var ds []layer.Desc
	size := int64(0)
	for i := range verifyFiles {
		d := verifyFile(b, disk, dir, id, kind, i)
		ds = append(ds, d)
		size += d.Size
	}
	b.SetBytes(size)
	var bare, whole, cpu time.Duration
	for b.Loop() {
		start := time.Now()
		for _, d := range ds {
			bareRead(b, ctx, disk, filepath.Join(dir, d.FileName()), d.Size)
		}
		middle, used := time.Now(), usedCPU()
		var work errgroup.Group
		work.SetLimit(runtime.GOMAXPROCS(0))
		for _, d := range ds {
			work.Go(func() error {
				_, err := layer.Verify(ctx, disk, dir, id, d, nil)
				return err
			})
		}
		require.NoError(b, work.Wait())
		bare += middle.Sub(start)
		whole += time.Since(middle)
		cpu += usedCPU() - used
	}
	gbps := func(d time.Duration) float64 { return float64(size) * float64(b.N) / float64(d.Nanoseconds()) }
	b.ReportMetric(gbps(bare), "bare_GB/s")
	b.ReportMetric(gbps(whole), "verify_GB/s")
	b.ReportMetric(gbps(cpu), "GB/cpu-s")
	b.ReportMetric(float64(bare)/float64(whole), "ratio")
}

// verifyFile writes a layer of random pages, of pages that compress, or of records of 100 bytes.
func verifyFile(b *testing.B, disk *virtualfile.Disk, dir string, id layer.Identity, kind string, n int) layer.Desc {
	r := rand.NewChaCha8([32]byte{byte(n)})
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: uint32(16384 + n)}
	value := make([]byte, 8192)
	lsn := page.LSN(8 * (n + 1))
	if kind == "records" {
		value = value[:100]
		w, err := layer.NewDeltaWriter(disk, dir, id, page.MinKey, page.LSNRange{Start: lsn, End: lsn + 8}, 1, layer.WriterOptions{})
		require.NoError(b, err)
		defer w.Abort()
		for i := range uint32(verifyBytes / len(value)) {
			_, _ = r.Read(value)
			require.NoError(b, w.Add(rel.Block(i), lsn, false, value))
		}
		d, err := w.Finish(context.Background(), page.MaxKey)
		require.NoError(b, err)
		return d
	}
	o := layer.WriterOptions{Compression: layer.Compression{Disabled: kind == "images"}}
	w, err := layer.NewImageWriter(disk, dir, id, page.FullRange, lsn, 1, o)
	require.NoError(b, err)
	defer w.Abort()
	for i := range uint32(verifyBytes / len(value)) {
		_, _ = r.Read(value)
		if kind == "compressed" {
			clear(value[2048:])
		}
		require.NoError(b, w.Add(rel.Block(i), value))
	}
	d, err := w.Finish(context.Background(), page.MaxKey)
	require.NoError(b, err)
	return d
}

// bareRead reads a file from start to end, one piece after the other.
func bareRead(b *testing.B, ctx context.Context, disk *virtualfile.Disk, name string, size int64) {
	f, err := disk.Open(name)
	require.NoError(b, err)
	buf := disk.Buffers().Get(barePiece)
	defer buf.Release()
	for off := int64(0); off < size; off += barePiece {
		r := []virtualfile.Read{{File: f, Off: off, Buf: buf, Len: int(min(barePiece, size-off))}}
		if err := disk.ReadMulti(ctx, r); err != nil || r[0].Err != nil || r[0].N != r[0].Len {
			b.Fatal(fmt.Errorf("%s: %w, %w", name, err, r[0].Err))
		}
	}
	require.NoError(b, f.Close())
}
