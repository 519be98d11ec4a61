package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
	"github.com/stratapg/strata/walredo"
)

// engines are those that reads are measured with, always with direct I/O: the data are cold, whatever ran
// before.
var engines = []struct {
	name string
	kind virtualfile.EngineKind
}{{"std", virtualfile.EngineStd}, {"uring", virtualfile.EngineURing}}

// place is where a value lies in a file.
type place struct {
	file     int
	off, end int64
}

// bare reads places past the engine under test, through a Disk of its own.
type bare struct {
	disk  *virtualfile.Disk
	files []*virtualfile.Handle
	unit  int64 // that reads are made of
}

// newBare opens all layers of a timeline, and tells where the values of its keys lie. Blobs lie back to back
// in the order of the index.
func newBare(tb testing.TB, tl *strata.Timeline, dir string, kind virtualfile.EngineKind, unit int64) (*bare, map[page.Key][]place) {
	ctx := context.Background()
	d, err := virtualfile.NewDisk(virtualfile.NewOS(), virtualfile.DiskOptions{Mode: virtualfile.DirectRW, Engine: kind})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, d.Close()) })
	if got := d.Metrics().Engine; got != kind {
		testkit.Skip(tb, "this machine has no io_uring: allow the system calls io_uring_*")
	}
	b := &bare{disk: d, unit: unit}
	places := map[page.Key][]place{}
	id := tl.Info()
	for i, desc := range tl.Layers() {
		name := filepath.Join(dir, "tenants", id.Tenant.String(), "timelines", id.ID.String(), desc.FileName())
		h, err := d.Open(name)
		require.NoError(tb, err)
		tb.Cleanup(func() { require.NoError(tb, h.Close()) })
		b.files = append(b.files, h)
		const dataStart, smallBlob = 8192, 128
		at := int64(dataStart)
		_, err = tl.VerifyLayer(ctx, desc, func(k page.Key, _ page.LSN, _ bool, s layer.Stored) error {
			n := int64(len(s.Data)) + 1
			if len(s.Data) >= smallBlob || s.Zstd {
				n += 3
			}
			places[k] = append(places[k], place{i, at, at + n})
			at += n
			return nil
		})
		require.NoError(tb, err)
	}
	return b, places
}

// read reads places in one batch.
func (b *bare) read(ctx context.Context, places []place, reads []virtualfile.Read) error {
	n := 0
	reads = reads[:0]
	for _, p := range places {
		off := p.off &^ (b.unit - 1)
		l := int((p.end - off + b.unit - 1) &^ (b.unit - 1))
		reads = append(reads, virtualfile.Read{File: b.files[p.file], Off: off, At: n, Len: l})
		n += l
	}
	buf := b.disk.Buffers().Get(n)
	defer buf.Release()
	for i := range reads {
		reads[i].Buf = buf
	}
	if err := b.disk.ReadMulti(ctx, reads); err != nil {
		return err
	}
	for i := range reads {
		if reads[i].Err != nil {
			return reads[i].Err
		}
	}
	return nil
}

// outcome is what a duel measured: reads/s of either side in all, processor time of a read in µs, and how
// their times compare.
type outcome struct{ ours, theirs, oursCPU, theirsCPU, slower float64 }

const (
	// roundReads is how many reads each caller makes in a round: its goroutine is to live long enough for its
	// start to count for nothing. A round of few callers has minRound. Both last some 10 to 60 ms.
	roundReads = 50
	minRound   = 500
	// minPairs of rounds decide, however short the benchmark is told to be.
	minPairs = 31
)

// duel measures read against bare reads of the same places, by as many callers: in short rounds, by turns, so
// that both meet the same weather. slower is the median over pairs of rounds of our time to theirs, so that
// what disturbs the machine for a moment decides nothing.
func duel(b *testing.B, keys []page.Key, depth int, read, raw func(k page.Key) error) outcome {
	round := max(minRound, roundReads*depth)
	r := rand.New(rand.NewPCG(1, 2))
	some := make([]page.Key, round)
	timed := func(fn func(k page.Key) error, cpu *time.Duration) float64 {
		begin, used := time.Now(), startCPU()
		var wg sync.WaitGroup
		for i := range depth {
			wg.Go(func() {
				for j := i; j < len(some); j += depth {
					if err := fn(some[j]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		*cpu += usedCPU() - used.start
		return time.Since(begin).Seconds()
	}
	var ours, theirs float64
	var oursCPU, theirsCPU time.Duration
	var ratios []float64
	pair := func() {
		for i := range some {
			some[i] = keys[r.IntN(len(keys))]
		}
		var a, t float64
		if len(ratios)%2 == 0 { // whoever comes second may gain from the first; so each is
			a, t = timed(read, &oursCPU), timed(raw, &theirsCPU)
		} else {
			t, a = timed(raw, &theirsCPU), timed(read, &oursCPU)
		}
		ours, theirs, ratios = ours+a, theirs+t, append(ratios, a/t)
	}
	pair() // neither side's buffers and descriptors are there yet
	ours, theirs, oursCPU, theirsCPU, ratios = 0, 0, 0, 0, nil
	for b.Loop() {
		pair()
	}
	for len(ratios) < minPairs && !b.Failed() {
		pair()
	}
	slices.Sort(ratios)
	n := float64(len(ratios) * round)
	return outcome{ours: n / ours, theirs: n / theirs,
		oursCPU: oursCPU.Seconds() * 1e6 / n, theirsCPU: theirsCPU.Seconds() * 1e6 / n, slower: ratios[len(ratios)/2]}
}

// warm reads every key once, so that all of the index is in memory.
func warm(tb testing.TB, tl *strata.Timeline, keys page.Set) {
	n := 0
	require.NoError(tb, tl.GetVectored(context.Background(), keys, tl.LastRecordLSN(), func(_ page.Key, _ []byte, err error) error {
		n++
		return err
	}))
	require.Positive(tb, n)
}

// readOne gives the function that reads one page through the engine.
func readOne(tl *strata.Timeline) func(k page.Key) error {
	lsn := tl.LastRecordLSN()
	return func(k page.Key) error {
		n := 0
		err := tl.GetVectored(context.Background(), page.SetOfKeys(k), lsn, func(_ page.Key, v []byte, err error) error {
			n += len(v)
			return err
		})
		if err == nil && n != pg.BlockSize {
			err = fmt.Errorf("%s: %d bytes", k.Describe(), n)
		}
		return err
	}
}

// readBare gives the function that reads the same page's bytes without it.
func (b *bare) readBare(places map[page.Key][]place) func(k page.Key) error {
	pool := sync.Pool{New: func() any { return new([]virtualfile.Read) }}
	return func(k page.Key) error {
		p := places[k]
		reads := pool.Get().(*[]virtualfile.Read)
		defer pool.Put(reads)
		if cap(*reads) < len(p) {
			*reads = make([]virtualfile.Read, 0, len(p))
		}
		return b.read(context.Background(), p, *reads)
	}
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
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) {
			tl, dir, keys := pageStore(b, e.kind, clusterPages)
			const sector = 512
			raw, places := newBare(b, tl, dir, e.kind, sector)
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
type noRedo struct{}

func (noRedo) Redo(_ context.Context, dst []byte, _ *walredo.Request) ([]byte, error) {
	n := len(dst)
	return dst[:n+pg.BlockSize], nil
}

func (noRedo) Close() error { return nil }

// stackStore makes a stack of L0 deltas, each with one record of every page.
func stackStore(tb testing.TB, kind virtualfile.EngineKind, height, pages int) (tl *strata.Timeline, dir string, keys []page.Key) {
	const first, recordSize = page.LSN(0x1000000), 200
	dir = filepath.Join(tb.TempDir(), "store")
	ctx := context.Background()
	tl, err := openStoreAt(tb, dir, strata.Options{
		IOMode: virtualfile.DirectRW, IOEngine: kind, Redoer: noRedo{},
		Compaction: strata.Compaction{Period: strata.Every(0)},
	}).Create(ctx, strata.CreateOptions{Name: "main", Version: 17, InitialLSN: first})
	require.NoError(tb, err)
	rel := page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 16384}
	r := rand.New(rand.NewPCG(1, 2))
	record := make([]byte, recordSize)
	for l := range height {
		lsn := first + page.LSN(8*(l+1))
		var batch page.Batch
		for i := range pages {
			for j := range record {
				record[j] = byte(r.Uint32())
			}
			batch.PutRecord(rel.Block(uint32(i)), lsn, l == 0, record)
		}
		require.NoError(tb, tl.Put(ctx, &batch))
		require.NoError(tb, tl.Flush(ctx))
	}
	require.Len(tb, tl.Layers(), height)
	for i := range pages {
		keys = append(keys, rel.Block(uint32(i)))
	}
	return tl, dir, keys
}

// BenchmarkL0Stack reads single pages at random under a stack of L0 deltas, each with one record of every
// page; redo does nothing. ratio is to a bare batch of reads of the same number and sizes, submitted at once
// and awaited by the same engine: the engine reads whole chunks, of 1 KiB, to verify them.
func BenchmarkL0Stack(b *testing.B) {
	const chunk, pages = 1024, 8192
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) {
			for _, height := range []int{1, 5, 20} {
				b.Run(fmt.Sprintf("height=%d", height), func(b *testing.B) {
					tl, dir, keys := stackStore(b, e.kind, height, pages)
					raw, places := newBare(b, tl, dir, e.kind, chunk)
					warm(b, tl, page.NewSet(page.Range{Start: keys[0], End: keys[len(keys)-1].Next()}))
					for _, depth := range []int{1, 8} {
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
