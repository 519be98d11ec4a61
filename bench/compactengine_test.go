package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
)

// compactStack says what L0 deltas a store is to have.
type compactStack struct {
	compactCase
	strategy string
	layers   int
	volume   int   // bytes of values of each
	memory   int64 // of the store; 0 is the default
}

const (
	// compactBlocks is the size of the relation whose blocks the values are of: 256 GiB.
	compactBlocks = 1 << 25
	// compactBatch is how many values a batch has.
	compactBatch = 512
	// compactFirst is the first LSN, and recordGap how far one value's is from the next one's.
	compactFirst = page.LSN(0x1000000)
	recordGap    = 8
)

var compactRel = page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 16384}

// options are those of a store that compacts when it is told to.
func (s *compactStack) options() strata.Options {
	return strata.Options{
		CheckpointDistance: 8 * int64(s.volume), // layers end before
		Memory:             s.memory, Redoer: noRedo{}, IOMode: virtualfile.DirectRW,
		Compaction: strata.Compaction{
			Strategy: s.strategy, Period: strata.Every(0),
			Knobs: compaction.Options{CheckpointDistance: int64(s.volume), CompactionUpperLimit: s.layers, CompactionThreshold: s.layers},
		},
	}
}

// engineStore is a store on a disk, which is closed and opened again so that it holds nothing of what was before.
type engineStore struct {
	dir    string
	engine *strata.Engine
	tl     *strata.Timeline
}

// open opens the store, and its timeline.
func (e *engineStore) open(tb testing.TB, o strata.Options) {
	e.begin(tb, o, func(t *strata.Tenant) *strata.Timeline {
		tl, err := t.Timeline(context.Background(), "main")
		require.NoError(tb, err)
		return tl
	})
}

// begin is open with a timeline that is still to be made.
func (e *engineStore) begin(tb testing.TB, o strata.Options, timeline func(t *strata.Tenant) *strata.Timeline) {
	o.Dir, o.CreateIfMissing = e.dir, true
	var err error
	e.engine, err = strata.Open(context.Background(), o)
	require.NoError(tb, err)
	t, err := e.engine.DefaultTenant(context.Background())
	require.NoError(tb, err)
	e.tl = timeline(t)
}

func (e *engineStore) close(tb testing.TB) { require.NoError(tb, e.engine.Close()) }

// layersDir is where the layer files are.
func (e *engineStore) layersDir() string {
	id := e.tl.Info()
	return filepath.Join(e.dir, "tenants", id.Tenant.String(), "timelines", id.ID.String())
}

// newEngineStore makes a store with a stack of L0 deltas, as they come of writes, and opens it anew.
func newEngineStore(tb testing.TB, dir string, s *compactStack) *engineStore {
	e := &engineStore{dir: filepath.Join(dir, "store")}
	e.begin(tb, s.options(), func(t *strata.Tenant) *strata.Timeline {
		tl, err := t.Create(context.Background(), strata.CreateOptions{Name: "main", Version: 17, InitialLSN: compactFirst})
		require.NoError(tb, err)
		return tl
	})
	lsn := compactFirst + recordGap
	var b page.Batch
	b.PutImage(page.DBDirKey, lsn, datadir.EncodeDatabases([]datadir.Database{{Spc: compactRel.Spc, DB: compactRel.DB}}))
	b.PutImage(page.RelDirKey(compactRel.Spc, compactRel.DB), lsn, datadir.EncodeRelations([]datadir.RelFork{{Rel: compactRel.Rel}}))
	b.PutImage(compactRel.SizeKey(), lsn, datadir.EncodeSize(compactBlocks))
	e.stack(tb, s, lsn, &b)
	require.Equal(tb, s.layers, len(e.tl.Layers()))
	e.close(tb)
	e.open(tb, s.options())
	return e
}

// stack puts values, and ends each layer of them. b, if not nil, is what the first batch begins with.
func (e *engineStore) stack(tb testing.TB, s *compactStack, lsn page.LSN, b *page.Batch) {
	ctx := context.Background()
	if b == nil {
		b = &page.Batch{}
	}
	value := make([]byte, s.size)
	for i := range uint32(len(value)) {
		value[i] = byte(murmur32(i))
	}
	for l := range s.layers {
		n := s.volume / s.size
		for i := range n {
			lsn += recordGap
			k := compactRel.Block(murmur32(uint32(l*n+i)) % compactBlocks)
			if s.size < pg.BlockSize {
				b.PutRecord(k, lsn, false, value)
			} else {
				b.PutImage(k, lsn, value)
			}
			if i%compactBatch == compactBatch-1 || i == n-1 {
				b.End, b.Prev = lsn, lsn-recordGap
				require.NoError(tb, e.tl.Put(ctx, b))
				b.Reset()
			}
		}
		require.NoError(tb, e.tl.Flush(ctx))
	}
}

// compactRun is what one compaction took.
type compactRun struct {
	strata.CompactResult
	bytes, entries int64 // of the inputs
	took, cpu      time.Duration
	grown          int64        // resident memory above what the store had when it was opened
	share          budget.Stats // of jobs
}

// compact does all that is due.
func (e *engineStore) compact(tb testing.TB, s *compactStack) (r compactRun) {
	for _, d := range e.tl.Layers() {
		r.bytes += d.Size
	}
	r.entries = int64(s.layers * (s.volume / s.size))
	base := resetPeak()
	began, used := time.Now(), usedCPU()
	var err error
	r.CompactResult, err = e.tl.Compact(context.Background(), strata.CompactOptions{DueOnly: true})
	require.NoError(tb, err)
	r.took, r.cpu = time.Since(began), usedCPU()-used
	r.grown = peakMemory() - base
	for _, x := range e.engine.Metrics().Shares {
		if x.Name == "jobs" {
			r.share = x
		}
	}
	return r
}

// copyLoop is what the drive gives for the store's layers, read and written.
func (e *engineStore) copyLoop(tb testing.TB) time.Duration {
	disk, err := virtualfile.NewDisk(virtualfile.NewOS(), virtualfile.DiskOptions{Mode: virtualfile.DirectRW})
	require.NoError(tb, err)
	defer disk.Close()
	g := &compactBench{disk: disk, dir: e.layersDir(), inputs: e.tl.Layers()}
	began := time.Now()
	g.copy(tb)
	return time.Since(began)
}

// BenchmarkCompactEngine has the engine compact 16 L0 deltas, planning, cutting, merging and publishing: records of
// 100 bytes, and pages, of random blocks, that were put into a store. The layers have 64 MiB of values each, 256 MiB
// in the long form. Everything that Timeline.Compact does is counted. What MB/s counts is the bytes of the inputs; of
// cpu-s, processor time by all threads and the kernel. copy_MB/s is a bare loop that reads the same files and writes as
// much with direct I/O. grown-MiB is the resident memory of the process above what it was when the store had been
// opened.
func BenchmarkCompactEngine(b *testing.B) {
	for _, c := range compactCases {
		for _, strategy := range strata.CompactionStrategies() {
			b.Run(c.name+"/"+strategy, func(b *testing.B) {
				s := &compactStack{compactCase: c, strategy: strategy, layers: compactLayers, volume: testkit.Size(64, 64, 256) << 20}
				var sum compactRun
				var copied time.Duration
				for b.Loop() {
					e := newEngineStore(b, b.TempDir(), s)
					copied += e.copyLoop(b)
					r := e.compact(b, s)
					e.close(b)
					sum.bytes, sum.entries, sum.took, sum.cpu = sum.bytes+r.bytes, sum.entries+r.entries, sum.took+r.took, sum.cpu+r.cpu
					sum.grown, sum.Jobs = max(sum.grown, r.grown), r.Jobs
				}
				mb := float64(sum.bytes) / 1e6
				b.ReportMetric(float64(sum.entries)/sum.took.Seconds(), "entries/s")
				b.ReportMetric(float64(sum.entries)/sum.cpu.Seconds(), "entries/cpu-s")
				b.ReportMetric(mb/sum.took.Seconds(), "MB/s")
				b.ReportMetric(mb/sum.cpu.Seconds(), "MB/cpu-s")
				b.ReportMetric(mb/copied.Seconds(), "copy_MB/s")
				b.ReportMetric(float64(sum.grown)/(1<<20), "grown-MiB")
				b.ReportMetric(float64(sum.Jobs), "jobs")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// TestCompactEngine does what the benchmark does, on little, and counts what comes out.
func TestCompactEngine(t *testing.T) {
	for _, c := range compactCases {
		for _, strategy := range strata.CompactionStrategies() {
			t.Run(c.name+"/"+strategy, func(t *testing.T) {
				s := &compactStack{compactCase: c, strategy: strategy, layers: compactLayers, volume: testkit.Size(64, 512, 4096) << 10}
				e := newEngineStore(t, t.TempDir(), s)
				defer e.close(t)
				r := e.compact(t, s)
				require.Positive(t, r.Jobs)
				require.Zero(t, r.L0Height)
				entries := e.entries(t)
				require.GreaterOrEqual(t, entries, r.entries)
				t.Logf("%d jobs, %d layers, %d entries", r.Jobs, r.Layers, entries)
			})
		}
	}
}

// entries counts the values of blocks in all deltas.
func (e *engineStore) entries(t *testing.T) (n int64) {
	disk, err := virtualfile.NewDisk(virtualfile.NewOS(), virtualfile.DiskOptions{})
	require.NoError(t, err)
	defer disk.Close()
	blocks, err := cache.New(cache.Options{Bytes: 16 << 20})
	require.NoError(t, err)
	defer blocks.Close()
	id := e.tl.Info()
	for _, d := range e.tl.Layers() {
		if d.Image {
			continue
		}
		r, err := layer.OpenReader(context.Background(), disk, blocks, e.layersDir(), layer.Identity{Tenant: id.Tenant, Timeline: id.ID}, d)
		require.NoError(t, err)
		p := r.Places(page.Range{Start: compactRel.Block(0), End: compactRel.Block(compactBlocks)})
		for {
			_, ok, err := p.Next(context.Background())
			require.NoError(t, err, fmt.Sprint(d))
			if !ok {
				break
			}
			n++
		}
		p.Close()
		require.NoError(t, r.Close())
	}
	return n
}
