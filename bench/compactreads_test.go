package bench

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/bench/workload"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

const (
	// readRate is how many reads begin in a second, however long those before them take.
	readRate = 5000
	// tail is the quantile that is compared.
	tail = 0.99
)

// openLoop begins reads of random keys at a rate until stop is closed, and gives how long each took from the moment at which it was due.
func openLoop(tb testing.TB, rate int, keys []page.Key, read func(k page.Key) error, stop <-chan struct{}) []time.Duration {
	all, err := workload.OpenLoop(rate, 0, keys, read, stop)
	require.NoError(tb, err)
	return all
}

// openFor is openLoop for a time.
func openFor(tb testing.TB, d time.Duration, keys []page.Key, read func(k page.Key) error) []time.Duration {
	stop := make(chan struct{})
	time.AfterFunc(d, func() { close(stop) })
	return openLoop(tb, readRate, keys, read, stop)
}

// openDuring is openLoop while fn runs.
func openDuring(tb testing.TB, rate int, keys []page.Key, read func(k page.Key) error, fn func()) []time.Duration {
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		fn()
	}()
	return openLoop(tb, rate, keys, read, stop)
}

// quantile gives one of sorted times.
func quantile(sorted []time.Duration, q float64) time.Duration { return workload.Quantile(sorted, q) }

// newReadStore imports pages that are to be read, and puts a stack of L0 deltas of another relation on them. bare reads
// the pages without the engine.
func newReadStore(tb testing.TB, dir string, s *compactStack, pages uint32, kind virtualfile.EngineKind, bandwidth int64) (e *engineStore, keys []page.Key, raw *bare, places map[page.Key][]place) {
	const sector = 512
	o := s.options()
	o.ImageCompression, o.IOEngine, o.Compaction.Bandwidth = layer.Compression{Disabled: true}, kind, bandwidth
	e = &engineStore{dir: filepath.Join(dir, "store")}
	e.begin(tb, o, func(t *strata.Tenant) *strata.Timeline {
		tl, _ := importOnce(tb, t, cluster(tb, pages), "main")
		return tl
	})
	raw, places = newBare(tb, e.tl, e.dir, kind, sector)
	e.stack(tb, s, e.tl.LastRecordLSN(), nil)
	e.close(tb)
	e.open(tb, o)
	for i := range pages {
		keys = append(keys, addedRel.Block(i))
	}
	warm(tb, e.tl, page.NewSet(page.Range{Start: keys[0], End: keys[len(keys)-1].Next()}))
	return e, keys, raw, places
}

// bareMerge does the I/O of a merge without the engine until stop is closed, so many bytes a second in each direction, in transfers
// of the size that compaction uses beside reads: it reads the store's layers, of each a piece in turn, and writes files of a layer's
// size through the same writer as layers, each made durable at its end.
func (e *engineStore) bareMerge(tb testing.TB, disk *virtualfile.Disk, size int64, in, out float64, stop *atomic.Bool) {
	const piece = 128 << 10
	ctx := context.Background()
	paced := func(rate float64, step func(done int64)) {
		began := time.Now()
		for done := int64(0); !stop.Load(); done += piece {
			step(done)
			workload.SleepUntil(began.Add(time.Duration(float64(done+piece) / rate * float64(time.Second))))
		}
	}
	var inputs []*virtualfile.Handle
	least := size
	for _, d := range e.tl.Layers() {
		if d.Size < size/2 {
			continue // of the pages that are read
		}
		f, err := disk.Open(filepath.Join(e.layersDir(), d.FileName()))
		require.NoError(tb, err)
		defer func() { require.NoError(tb, f.Close()) }()
		inputs, least = append(inputs, f), min(least, d.Size)
	}
	buf := disk.Buffers().Get(piece)
	defer buf.Release()
	var reading sync.WaitGroup
	reading.Go(func() {
		paced(in, func(done int64) {
			n := done / piece
			off := n / int64(len(inputs)) * piece % (least - piece) &^ (piece - 1)
			r := []virtualfile.Read{{File: inputs[n%int64(len(inputs))], Off: off, Buf: buf, Len: piece}}
			if err := disk.ReadMulti(ctx, r); err != nil || r[0].Err != nil {
				tb.Error(err, r[0].Err)
			}
		})
	})
	defer reading.Wait()
	name, data := filepath.Join(e.dir, "bare-merge"), make([]byte, piece)
	var f *virtualfile.Handle
	var w *virtualfile.Writer
	end := func() {
		_, err := w.Finish(f.Align())
		require.NoError(tb, errors.Join(err, f.Sync(), f.Close(), disk.Remove(name)))
	}
	paced(out, func(done int64) {
		if done%size == 0 {
			if f != nil {
				end()
			}
			var err error
			f, err = disk.Create(name)
			require.NoError(tb, err)
			w = virtualfile.NewWriter(f, virtualfile.WriterOptions{Buffer: piece})
		}
		_, err := w.Write(data)
		require.NoError(tb, err)
	})
	if f != nil {
		end()
	}
}

// BenchmarkCompactReads reads single pages at random at a fixed rate, cold data behind a warm index, first in a store
// at rest, then while 16 L0 deltas of the same timeline are compacted, at the pace that the engine takes. The loop is
// open: times count from the moment at which a read was due. p99-ratio is the 99th percentile during compaction
// divided by that at rest; MB/s counts the bytes of the layers that are merged. bare-µs is the 99th percentile of
// reads of the same pages without the engine, beside bare loops that read and write as many bytes a second in the same transfers
// (bareMerge); to-bare compares the two. The second form of each case has compaction keep to a limit of what it reads and writes.
func BenchmarkCompactReads(b *testing.B) {
	const limit = 128 << 20
	for _, c := range compactCases {
		b.Run(c.name, func(b *testing.B) { benchCompactReads(b, c, 0) })
		b.Run(c.name+"-limited", func(b *testing.B) { benchCompactReads(b, c, limit) })
	}
}

func benchCompactReads(b *testing.B, c compactCase, bandwidth int64) {
	s := &compactStack{compactCase: c, strategy: "legacy", layers: compactLayers, volume: testkit.Size(64, 64, 256) << 20}
	const rest = 4 * time.Second
	for b.Loop() {
		e, keys, raw, places := newReadStore(b, b.TempDir(), s, clusterPages, virtualfile.EngineURing, bandwidth)
		read := readOne(e.tl)
		idle := openFor(b, rest, keys, read)
		var run compactRun
		busy := openDuring(b, readRate, keys, read, func() { run = e.compact(b, s) })
		rate := float64(run.bytes) / run.took.Seconds()
		var stop atomic.Bool
		var copying sync.WaitGroup
		copying.Go(func() {
			e.bareMerge(b, raw.disk, int64(s.volume), rate, float64(run.BytesWritten)/run.took.Seconds(), &stop)
		})
		bare := openFor(b, rest, keys, raw.readBare(places))
		stop.Store(true)
		copying.Wait()
		slowest := quantile(busy, tail)
		b.ReportMetric(float64(slowest)/float64(quantile(idle, tail)), "p99-ratio")
		b.ReportMetric(float64(slowest)/float64(quantile(bare, tail)), "to-bare")
		b.ReportMetric(rate/1e6, "MB/s")
		for name, times := range map[string][]time.Duration{"idle": idle, "busy": busy, "bare": bare} {
			b.ReportMetric(float64(quantile(times, tail).Microseconds()), name+"-µs")
			b.ReportMetric(float64(quantile(times, 0.5).Microseconds()), name+"-median-µs")
		}
		b.ReportMetric(float64(len(busy)), "reads")
		b.ReportMetric(float64(e.engine.Metrics().Compaction.Slowed), "slowed")
		b.ReportMetric(0, "ns/op")
		e.close(b)
	}
}

// TestCompactReads does what the benchmark does, on little: every read comes back, and so does compaction.
func TestCompactReads(t *testing.T) {
	s := &compactStack{compactCase: compactCases[0], strategy: "legacy", layers: compactLayers, volume: 64 << 10}
	e, keys, _, _ := newReadStore(t, t.TempDir(), s, tinyPages, virtualfile.EngineStd, 0)
	defer e.close(t)
	var run compactRun
	rate := testkit.Size(readRate/20, readRate, readRate) // what the race detector leaves time for
	busy := openDuring(t, rate, keys, readOne(e.tl), func() { run = e.compact(t, s) })
	require.Positive(t, run.Jobs)
	require.Zero(t, run.L0Height)
	require.NotEmpty(t, busy)
	t.Logf("%d reads while %d jobs were done", len(busy), run.Jobs)
}
