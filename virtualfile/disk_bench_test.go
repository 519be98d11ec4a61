package virtualfile

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	readBenchFile = 256 << 20
	// benchSpan is the aligned stretch in which a page of 8,196 bytes lies most often.
	benchSpan = 9 << 10
)

// BenchmarkRead reads spans of a page at random. "calls" is N goroutines that read one each, with a context
// that can be cancelled or cannot; "batch" is one that reads N at once. Each is compared with N goroutines in
// a bare loop of pread on the same descriptor, in turns of some milliseconds; ratio is ours by theirs.
func BenchmarkRead(b *testing.B) {
	for _, mode := range []Mode{Buffered, Direct} {
		d, h := benchDisk(b, mode)
		for _, depth := range []int{1, 8, 32, 64} {
			for _, how := range []string{"calls", "cancelable", "batch"} {
				b.Run(fmt.Sprintf("std/%s/%s/depth=%d", mode, how, depth), func(b *testing.B) {
					ctx := context.Background()
					if how != "calls" {
						ctx = cancelable(b)
					}
					ours := func(n int) {
						if how == "batch" {
							readBatches(b, ctx, d, h, depth, n)
						} else {
							readCalls(b, ctx, d, h, depth, n)
						}
					}
					compareReads(b, ours, func(n int) { readBare(b, h, depth, n) })
				})
			}
		}
	}
}

func benchDisk(b *testing.B, mode Mode) (*Disk, *Handle) {
	d, err := NewDisk(NewOS(), DiskOptions{Mode: mode, Engine: EngineStd})
	require.NoError(b, err)
	name := filepath.Join(b.TempDir(), "file")
	f, err := d.Create(name)
	require.NoError(b, err)
	w := NewWriter(f, WriterOptions{})
	block := marked(1, 0, 1<<20)
	for range readBenchFile / len(block) {
		_, err := w.Write(block)
		require.NoError(b, err)
	}
	_, err = w.Finish(BufferAlign)
	require.NoError(b, err)
	require.NoError(b, f.Sync())
	require.NoError(b, f.Close())
	h, err := d.Open(name)
	require.NoError(b, err)
	b.Cleanup(func() {
		require.NoError(b, h.Close())
		require.NoError(b, d.Close())
	})
	return d, h
}

// compareReads lets ours and theirs take turns until ours has done b.N.
func compareReads(b *testing.B, ours, theirs func(n int)) {
	const turn = 500
	var us, them time.Duration
	b.ReportAllocs()
	for done := 0; done < b.N; done += turn {
		n := min(turn, b.N-done)
		start := time.Now()
		ours(n)
		us += time.Since(start)
		b.StopTimer()
		start = time.Now()
		theirs(n)
		them += time.Since(start)
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)/us.Seconds(), "pages/s")
	b.ReportMetric(float64(b.N)/them.Seconds(), "bare/s")
	b.ReportMetric(them.Seconds()/us.Seconds(), "ratio")
}

func randomSpan(rnd *rand.Rand) int64 { return int64(rnd.IntN((readBenchFile-benchSpan)/512)) * 512 }

func inParallel(depth, n int, one func(rnd *rand.Rand, n int)) {
	var wg sync.WaitGroup
	for w := range depth {
		rnd := rand.New(rand.NewPCG(uint64(w), rand.Uint64()))
		share := n / depth
		if w < n%depth {
			share++
		}
		wg.Go(func() { one(rnd, share) })
	}
	wg.Wait()
}

func readCalls(b *testing.B, ctx context.Context, d *Disk, h *Handle, depth, n int) {
	inParallel(depth, n, func(rnd *rand.Rand, n int) {
		reads := make([]Read, 1)
		for range n {
			buf := d.Buffers().Get(benchSpan)
			reads[0] = Read{File: h, Off: randomSpan(rnd), Buf: buf, Len: benchSpan}
			if err := d.ReadMulti(ctx, reads); err != nil || reads[0].N != benchSpan {
				b.Error(err, reads[0])
			}
			buf.Release()
		}
	})
}

func readBatches(b *testing.B, ctx context.Context, d *Disk, h *Handle, depth, n int) {
	rnd := rand.New(rand.NewPCG(1, rand.Uint64()))
	reads := make([]Read, depth)
	for ; n > 0; n -= depth {
		for i := range reads {
			reads[i] = Read{File: h, Off: randomSpan(rnd), Buf: d.Buffers().Get(benchSpan), Len: benchSpan}
		}
		if err := d.ReadMulti(ctx, reads); err != nil {
			b.Error(err)
		}
		for i := range reads {
			if reads[i].N != benchSpan {
				b.Error(reads[i])
			}
			reads[i].Buf.Release()
		}
	}
}

func readBare(b *testing.B, h *Handle, depth, n int) {
	fd := h.fd
	inParallel(depth, n, func(rnd *rand.Rand, n int) {
		buf := h.disk.bufs.Get(benchSpan)
		defer buf.Release()
		for range n {
			if got, err := pread(fd, buf.b[:benchSpan], randomSpan(rnd)); err != nil || got != benchSpan {
				b.Error(got, err)
			}
		}
	})
}

// BenchmarkDescriptor is what the cache costs: to find a descriptor that is open, alone and with others that
// want the same or another one, and to open a file again for one whose turn it is.
func BenchmarkDescriptor(b *testing.B) {
	dir := b.TempDir()
	files := func(b *testing.B, limit int) (*Disk, []*Handle) {
		d, err := NewDisk(NewOS(), DiskOptions{MaxDescriptors: limit, Engine: EngineStd})
		require.NoError(b, err)
		hs := make([]*Handle, 16)
		for i := range hs {
			hs[i] = writeFile(b, d, filepath.Join(dir, fmt.Sprint(b.Name(), i)[len("BenchmarkDescriptor/"):]), i, 4096)
		}
		b.Cleanup(func() {
			for _, h := range hs {
				require.NoError(b, h.Close())
				require.NoError(b, d.Remove(h.Name()))
			}
			require.NoError(b, d.Close())
		})
		b.ResetTimer()
		b.ReportAllocs()
		return d, hs
	}
	ctx := context.Background()
	b.Run("hit", func(b *testing.B) {
		d, hs := files(b, 64)
		for i := range b.N {
			h := hs[i%len(hs)]
			if err := d.cache.pin(ctx, h); err != nil {
				b.Fatal(err)
			}
			h.unpin()
		}
	})
	b.Run("hit-one-by-all", func(b *testing.B) {
		d, hs := files(b, 64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := d.cache.pin(ctx, hs[0]); err != nil {
					b.Error(err)
				}
				hs[0].unpin()
			}
		})
	})
	b.Run("reopen", func(b *testing.B) {
		d, hs := files(b, 8)
		for i := range b.N {
			h := hs[i%len(hs)]
			if err := d.cache.pin(ctx, h); err != nil {
				b.Fatal(err)
			}
			h.unpin()
		}
	})
}
