package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// amplifiedCase is a real server's WAL, how much of it is taken in, and how large layers are.
type amplifiedCase struct {
	walFixture
	wal      int64 // bytes; 0 is all
	distance int64
	reads    int            // after each layer
	fs       virtualfile.FS // of the store; nil is the operating system's
}

// knobs are those of a server with layers of 256 MiB, but for the size of layers; where there are but few of these, thresholds are
// lower too.
func (c *amplifiedCase) knobs() compaction.Options {
	o := compaction.Options{CheckpointDistance: c.distance, CompactionTargetSize: c.distance / 2, FoldMinBytes: 20 * c.distance, MaxVisits: 8}
	if c.distance >= fewLayers {
		o.CompactionThreshold, o.ImageCreationThreshold, o.MaxVisits, o.FoldMinBytes = 2, 1, 4, c.distance
	}
	return o
}

// fewLayers is the size of layers of which the fixtures' WAL, of 8 and 11 MB, makes two or three.
const fewLayers = 4 << 20

// amplified is what a strategy has cost.
type amplified struct {
	strategy        string
	wal, flushed    int64
	compacted       [compaction.Kinds]int64 // bytes written by kind of job
	collected       int                     // layers
	layers          int
	bytes           int64 // of the layers at the end
	deltas, records []int // of each read
}

// unbounded is partitioned without a bound on the records that a read replays.
const unbounded = "partitioned, visits bounded alone"

// run takes in the WAL, a layer's worth at a time. After each the strategy does what is due, before that reads are looked at, and
// what is older than four layers' worth of WAL is collected.
func (c *amplifiedCase) run(tb testing.TB, base, wal, strategy string) *amplified {
	ctx := context.Background()
	a := &amplified{strategy: strategy}
	knobs := c.knobs()
	if strategy == unbounded {
		strategy, knobs.MaxRecords = "partitioned", 1<<20
	}
	var mu sync.Mutex // images are made side by side
	o := strata.Options{
		FS: c.fs, CheckpointDistance: 8 * c.distance, // layers end before
		Compaction: strata.Compaction{Strategy: strategy, Period: strata.Every(0), Knobs: knobs},
		GC:         strata.GarbageCollection{Period: strata.Every(0), LeaseGrace: strata.Every(0)},
		Events:     strata.Events{CompactionEnd: func(i strata.CompactionInfo) { mu.Lock(); a.compacted[i.Kind] += i.BytesWritten; mu.Unlock() }},
	}
	e, t := openEngine(tb, filepath.Join(tb.TempDir(), "store"), o)
	tl, _, err := t.Import(ctx, strata.ImportOptions{PGData: base, Name: "main"})
	require.NoError(tb, err)
	first, imported := tl.LastRecordLSN(), e.Metrics().FlushBytes
	end := c.whole.end
	if c.wal > 0 {
		end = min(end, first+page.LSN(c.wal))
	}
	for at := first; at < end; {
		at = min(at+page.LSN(c.distance), end)
		_, err := tl.Ingest(ctx, strata.IngestOptions{Dir: wal, Until: at})
		require.NoError(tb, err)
		require.NoError(tb, tl.Flush(ctx))
		a.read(tb, e, tl, c.reads)
		_, err = tl.Compact(ctx, strata.CompactOptions{DueOnly: true})
		require.NoError(tb, err)
		r, err := tl.GC(ctx, strata.GCOptions{Horizon: 4 * c.distance, PITR: -1})
		require.NoError(tb, err)
		a.collected += r.Removed
	}
	i := tl.Info()
	a.wal, a.flushed, a.layers, a.bytes = int64(i.LastRecordLSN-first), e.Metrics().FlushBytes-imported, i.Layers, i.LayerBytes
	slices.Sort(a.deltas)
	slices.Sort(a.records)
	return a
}

// read reads so many blocks of the relations that users have made, evenly spread over them.
func (a *amplified) read(tb testing.TB, e *strata.Engine, tl *strata.Timeline, n int) {
	ctx, last := context.Background(), tl.LastRecordLSN()
	var blocks []page.Key
	cluster := tl.Cluster(last)
	dbs, err := cluster.Databases(ctx)
	require.NoError(tb, err)
	for _, db := range dbs {
		rels, err := cluster.Relations(ctx, db.Spc, db.DB)
		require.NoError(tb, err)
		for _, rel := range rels {
			if rel.Rel < firstUserRelation || rel.Fork != page.ForkMain {
				continue
			}
			size, err := cluster.RelSize(ctx, rel)
			require.NoError(tb, err)
			for b := range size {
				blocks = append(blocks, rel.Block(b))
			}
		}
	}
	images := map[string]bool{"memory": true}
	for _, d := range tl.Layers() {
		images[d.Name()] = d.Image
	}
	step := max(len(blocks)/n, 1)
	for i := 0; i < len(blocks); i += step {
		before := e.Metrics().RedoRecords
		var trace strata.ReadTrace
		_, err := tl.Get(strata.WithReadTrace(ctx, &trace), blocks[i], last)
		require.NoError(tb, err)
		deltas := trace.More
		for _, v := range trace.Visited {
			if image, known := images[v.Layer]; !image {
				require.True(tb, known, "layer %s", v.Layer)
				deltas++
			}
		}
		a.deltas, a.records = append(a.deltas, deltas), append(a.records, int(e.Metrics().RedoRecords-before))
	}
}

// firstUserRelation is FirstNormalObjectId (access/transam.h).
const firstUserRelation = 16384

// written gives all bytes that were.
func (a *amplified) written() int64 {
	n := a.flushed
	for _, b := range a.compacted {
		n += b
	}
	return n
}

// amplifiedTable sets strategies beside each other.
func amplifiedTable(all []*amplified) string {
	var s strings.Builder
	w := tabwriter.NewWriter(&s, 0, 0, 1, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "strategy\tWAL KiB\tflushed\tmerged\timages\tfolded\twritten/WAL\tcollected\tlayers\tKiB\tdeltas mean\tp99\tmax\trecords mean\tp99\tmax\t")
	for _, a := range all {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%.2f\t%d\t%d\t%d\t%s\t%s\t\n", a.strategy, a.wal>>10, a.flushed>>10, a.compacted[compaction.Retile]>>10,
			a.compacted[compaction.Image]>>10, a.compacted[compaction.Fold]>>10, float64(a.written())/float64(a.wal), a.collected, a.layers, a.bytes>>10,
			spread(a.deltas), spread(a.records))
	}
	w.Flush()
	return s.String()
}

// mean is that of values.
func mean(v []int) float64 {
	var sum float64
	for _, x := range v {
		sum += float64(x)
	}
	return sum / float64(len(v))
}

// spread gives mean, 99th percentile and maximum of values in ascending order, as cells.
func spread(v []int) string {
	return fmt.Sprintf("%.2f\t%v\t%v", mean(v), v[len(v)*99/100], v[len(v)-1])
}

// folders gives those of the cluster and of its WAL, in segments as its server had them.
func (c *amplifiedCase) folders(tb testing.TB) (base, wal string) {
	base, segment := c.files(tb)
	wal = filepath.Join(tb.TempDir(), "segments")
	require.NoError(tb, os.Mkdir(wal, 0o700))
	size := page.LSN(16 << 20)
	if c.base == "" {
		size = 4 << 20
	}
	for at := c.segStart; len(segment) > 0; at += size {
		n := min(len(segment), int(size))
		require.NoError(tb, os.WriteFile(filepath.Join(wal, fmt.Sprintf("%08X%08X%08X", 1, 0, uint64(at/size))), segment[:n], 0o600))
		segment = segment[n:]
	}
	return base, wal
}

// BenchmarkAmplification prints what each strategy writes of real WAL, and what reads meet: with layers of 4 MiB, and with layers of a
// thousandth of what servers have, so that there are many. Run it with -benchtime 1x.
func BenchmarkAmplification(b *testing.B) {
	for _, f := range walFixtures[:2] { // the third begins within its segment, which a folder of WAL may not
		for _, distance := range []int64{fewLayers, 256 << 10} {
			b.Run(fmt.Sprintf("%s/%dKiB", f.name, distance>>10), func(b *testing.B) {
				c := &amplifiedCase{walFixture: f, distance: distance, reads: 500}
				base, wal := c.folders(b)
				for b.Loop() {
					var all []*amplified
					begun := time.Now()
					for _, s := range append(strata.CompactionStrategies(), unbounded) {
						a := c.run(b, base, wal, s)
						s = strings.ReplaceAll(s, " ", "-")
						b.ReportMetric(float64(a.written())/float64(a.wal), s+"-written/WAL")
						b.ReportMetric(mean(a.deltas), s+"-deltas/read")
						b.ReportMetric(mean(a.records), s+"-records/read")
						all = append(all, a)
					}
					b.Logf("in %s\n%s", time.Since(begun).Round(time.Second), amplifiedTable(all))
				}
			})
		}
	}
}

// TestAmplification runs what the benchmark runs on a piece of the WAL. A strategy with a bound keeps it, and no other
// lets reads visit all.
func TestAmplification(t *testing.T) {
	strategies := strata.CompactionStrategies()
	if testkit.UnderRace {
		strategies = strategies[:1] // one is enough so that this cannot rot
	}
	c := &amplifiedCase{walFixture: walFixtures[0], wal: 384 << 10, distance: 32 << 10, reads: 20}
	base, wal := c.folders(t)
	var all []*amplified
	for _, s := range strategies {
		c.fs = virtualfile.NewMem()
		a := c.run(t, base, wal, s)
		all = append(all, a)
		require.Greater(t, a.flushed, a.wal/8)
		require.Greater(t, a.written(), a.flushed, "%s has compacted", s)
		if s == "partitioned" {
			require.LessOrEqual(t, a.deltas[len(a.deltas)-1], c.knobs().MaxVisits)
		}
	}
	t.Log("\n" + amplifiedTable(all))
}
