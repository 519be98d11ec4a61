//go:build linux

package virtualfile

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/stratapg/strata/internal/testkit"
)

const (
	engineFile = 512 << 20
	// engineSpan is the aligned stretch in which a page of 8,196 bytes lies most often.
	engineSpan = 9 << 10
	// engineTurn is how many reads each side does before it is the other's turn.
	engineTurn = 2000
)

// BenchmarkEngine reads pages at random with O_DIRECT through a Disk: depth=N is N callers of one read each,
// batch=N one caller of N reads at once, all with a context that can be cancelled. In turns with it run a
// bare loop of pread, as many goroutines as there are reads at a time, and a bare loop over one ring, one
// thread with as many reads under way. Reported are reads per second, µs of CPU per read of the whole
// process, and the ratio of our reads per second to either loop's.
func BenchmarkEngine(b *testing.B) {
	for _, kind := range []EngineKind{EngineStd, EngineURing} {
		b.Run(kind.String(), func(b *testing.B) {
			d, h := engineBench(b, kind)
			for _, depth := range []int{1, 8, 32, 64} {
				b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) { compareEngine(b, d, h, depth, 1) })
			}
			b.Run("batch=20", func(b *testing.B) { compareEngine(b, d, h, 1, 20) })
		})
	}
}

func engineBench(b *testing.B, kind EngineKind) (*Disk, *Handle) {
	d, err := NewDisk(NewOS(), DiskOptions{Mode: DirectRW, Engine: kind})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, d.Close()) })
	if d.Metrics().Engine != kind {
		testkit.Skip(b, "the engine is not available here")
	}
	h := writeFile(b, d, filepath.Join(b.TempDir(), "file"), 1, engineFile)
	b.Cleanup(func() { require.NoError(b, h.Close()) })
	return d, h
}

// side is what one of those compared has used.
type side struct{ wall, cpu time.Duration }

func (s *side) measure(run func()) {
	cpu, start := cpuTime(), time.Now()
	run()
	s.wall += time.Since(start)
	s.cpu += cpuTime() - cpu
}

func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func compareEngine(b *testing.B, d *Disk, h *Handle, callers, batch int) {
	var ours, pread, ring side
	ctx := cancelable(b)
	for left := b.N; left > 0; left -= engineTurn {
		n := min(left, engineTurn)
		ours.measure(func() { perCaller(callers, n, func(n int) { engineReads(ctx, b, d, h, batch, n) }) })
		b.StopTimer()
		pread.measure(func() { perCaller(callers*batch, n, func(n int) { barePread(b, h, n) }) })
		if d.Metrics().Engine == EngineURing {
			ring.measure(func() { bareRing(b, h, callers*batch, n) })
		}
		b.StartTimer()
	}
	perRead := float64(time.Microsecond) * float64(b.N)
	b.ReportMetric(float64(b.N)/ours.wall.Seconds(), "reads/s")
	b.ReportMetric(float64(ours.cpu)/perRead, "cpu-µs/read")
	b.ReportMetric(float64(pread.cpu)/perRead, "pread-cpu-µs/read")
	b.ReportMetric(float64(pread.wall)/float64(ours.wall), "of-pread")
	if ring.wall > 0 {
		b.ReportMetric(float64(ring.cpu)/perRead, "ring-cpu-µs/read")
		b.ReportMetric(float64(ring.wall)/float64(ours.wall), "of-ring")
	}
}

// perCaller divides n reads among so many goroutines.
func perCaller(callers, n int, reads func(n int)) {
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { reads((n + i) / callers) })
	}
	wg.Wait()
}

func engineOffset() int64 { return 512 * rand.Int64N((engineFile-engineSpan)/512) }

func engineReads(ctx context.Context, b *testing.B, d *Disk, h *Handle, batch, n int) {
	reads := make([]Read, batch)
	for ; n > 0; n -= batch {
		reads := reads[:min(batch, n)]
		for i := range reads {
			reads[i] = Read{File: h, Off: engineOffset(), Buf: d.Buffers().Get(engineSpan), Len: engineSpan}
		}
		if err := d.ReadMulti(ctx, reads); err != nil {
			b.Error(err)
		}
		for i := range reads {
			if reads[i].N != engineSpan || reads[i].Err != nil {
				b.Error(reads[i].N, reads[i].Err)
			}
			reads[i].Buf.Release()
		}
	}
}

func barePread(b *testing.B, h *Handle, n int) {
	buf := h.Disk().Buffers().Get(engineSpan)
	defer buf.Release()
	for range n {
		if k, err := unix.Pread(h.fd, buf.Bytes()[:engineSpan], engineOffset()); k != engineSpan {
			b.Error(k, err)
		}
	}
}

// bareRing keeps depth reads under way on one thread.
func bareRing(b *testing.B, h *Handle, depth, n int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := newRing(uringDepth, uringCompletions)
	require.NoError(b, err)
	defer func() { require.NoError(b, r.close()) }()
	xs := make([]transfer, depth)
	begun, ended := 0, 0
	begin := func(i uint64) {
		xs[i].off = engineOffset()
		xs[i].describe(r.prepare(), i)
		begun++
	}
	for i := range xs {
		xs[i] = transfer{fd: h.fd, buf: h.Disk().Buffers().Get(engineSpan), len: engineSpan}
		defer xs[i].buf.Release()
		if begun < n {
			begin(uint64(i))
		}
	}
	var done [uringDepth]cqe
	for ended < n {
		require.NoError(b, r.wait(r.publish(), time.Second))
		k := r.reap(done[:])
		ended += k
		for _, c := range done[:k] {
			if c.res != engineSpan {
				b.Error(c.res)
			}
			if begun < n {
				begin(c.userData)
			}
		}
	}
}
