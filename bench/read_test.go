package bench

import (
	"context"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// relation is one to be read whole.
type relation struct {
	keys   page.Set
	blocks int
}

// historyStore imports the sample, ingests its WAL into L0 layers of 1 MiB each, and lists all main forks at
// its end. fs is where layers are, by default on the disk.
func historyStore(tb testing.TB, fs virtualfile.FS) (*strata.Timeline, []relation) {
	tb.Helper()
	ctx := context.Background()
	s, err := sample.Open(sampleDir)
	require.NoError(tb, err)
	dir := tb.TempDir()
	require.NoError(tb, s.ExtractCluster(filepath.Join(dir, "cluster")))
	require.NoError(tb, s.ExtractWAL(filepath.Join(dir, "wal")))
	tl, _ := importOnce(tb, openStore(tb, strata.Options{FS: fs, CheckpointDistance: 1 << 20}), filepath.Join(dir, "cluster"), "main")
	_, err = tl.Ingest(ctx, strata.IngestOptions{Dir: filepath.Join(dir, "wal"), Until: walFixtures[0].reach().end})
	require.NoError(tb, err)
	require.NoError(tb, tl.Flush(ctx))
	return tl, relations(tb, tl)
}

func relations(tb testing.TB, tl *strata.Timeline) (out []relation) {
	ctx := context.Background()
	snap := datadir.At(tl, tl.LastRecordLSN(), sample.Version)
	dbs, err := snap.Databases(ctx)
	require.NoError(tb, err)
	for _, db := range dbs {
		rels, err := snap.Relations(ctx, db.Spc, db.DB)
		require.NoError(tb, err)
		sizes, err := snap.RelSizes(ctx, rels)
		require.NoError(tb, err)
		for i, r := range rels {
			if r.Fork == page.ForkMain && sizes[i] > 0 {
				out = append(out, relation{page.NewSet(page.Range{Start: r.Block(0), End: r.Block(sizes[i])}), int(sizes[i])})
			}
		}
	}
	return out
}

// readRelations reads every page of every relation, one read a relation.
func readRelations(tb testing.TB, tl *strata.Timeline, rels []relation, see func(k page.Key, v []byte)) (pages int) {
	for _, r := range rels {
		n := 0
		err := tl.GetVectored(context.Background(), r.keys, tl.LastRecordLSN(), func(k page.Key, v []byte, err error) error {
			if see != nil {
				see(k, v)
			}
			n++
			return err
		})
		require.NoError(tb, err)
		require.Equal(tb, r.blocks, n)
		pages += n
	}
	return pages
}

// BenchmarkReadRelations reads every page of every relation of the sample cluster behind its L0 layers.
func BenchmarkReadRelations(b *testing.B) {
	tl, rels := historyStore(b, nil)
	b.ReportAllocs()
	pages := 0
	cpu := startCPU()
	for b.Loop() {
		pages += readRelations(b, tl, rels, nil)
	}
	used := usedCPU() - cpu.start
	b.ReportMetric(float64(pages)/b.Elapsed().Seconds(), "pages/s")
	b.ReportMetric(float64(used.Microseconds())/float64(pages), "cpu-µs/page")
	b.ReportMetric(float64(len(tl.Layers())), "layers")
}

// TestReadRelations runs what the benchmark runs, once, and says what it read.
func TestReadRelations(t *testing.T) {
	tl, rels := historyStore(t, virtualfile.NewMem())
	crc := crc32.NewIEEE()
	pages := readRelations(t, tl, rels, func(k page.Key, v []byte) {
		fmt.Fprint(crc, k)
		crc.Write(v)
	})
	t.Logf("%d pages of %d relations, crc32 %08x", pages, len(rels), crc.Sum32())
}

// BenchmarkGetPage reads one page an operation, chosen at random, behind the same layers.
func BenchmarkGetPage(b *testing.B) {
	tl, rels := historyStore(b, nil)
	var keys []page.Key
	for _, r := range rels {
		for block := range r.blocks {
			keys = append(keys, r.keys.Ranges()[0].Start.Add(uint32(block)))
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		_, err := tl.Get(context.Background(), keys[r.IntN(len(keys))], tl.LastRecordLSN())
		require.NoError(b, err)
	}
}
