package bench

import (
	"context"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/ingest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
)

// replay is WAL sorted by the pages that it changes: a request for each of them, with all its records or with those
// that it begins with.
type replay struct {
	requests []*walredo.Request
	records  int64
}

// add takes a request's records up to the first that is not wanted.
func (r *replay) add(req *walredo.Request, wanted func(*walredo.Record) bool) {
	n := 0
	for n < len(req.Records) && wanted(&req.Records[n]) {
		n++
	}
	if n == 0 || req.Base == nil && !req.Records[0].Value.Initializes() {
		return
	}
	part := *req
	part.Records = req.Records[:n]
	r.requests = append(r.requests, &part)
	r.records += int64(n)
}

// once makes every page.
func (r *replay) once(t testing.TB, redoer walredo.Redoer, buf []byte, see func([]byte)) {
	for _, req := range r.requests {
		p, err := redoer.Redo(context.Background(), buf[:0], req)
		if err != nil {
			t.Fatal(err)
		}
		if see != nil {
			see(p)
		}
	}
}

// replayBase keeps the pages of an import, too.
type replayBase struct {
	benchBase
	pages map[page.Key][]byte
}

func (b *replayBase) PutImage(ctx context.Context, k page.Key, image []byte) error {
	if _, _, ok := k.RelBlock(); ok {
		b.pages[k] = append([]byte(nil), image...)
		return nil
	}
	return b.benchBase.PutImage(ctx, k, image)
}

// replays takes the WAL of the repository's sample apart: all of it, what pages have of insertions into heaps before
// anything else happens to them, and the same of btrees.
func replays(t testing.TB) map[string]*replay {
	f := walFixtures[0]
	dir, segment := f.files(t)
	d, err := ingest.OpenDataDir(dir)
	require.NoError(t, err)
	base := &replayBase{benchBase{DataDir: d, values: map[page.Key][]byte{}}, map[page.Key][]byte{}}
	_, err = d.Import(t.Context(), base, nil)
	require.NoError(t, err)
	mem := ingestOnce(t, f, &base.benchBase, segment)
	defer mem.Release()

	requests := map[page.Key]*walredo.Request{}
	require.NoError(t, mem.Iterate(t.Context(), func(k page.Key, lsn page.LSN, _ bool, v []byte) error {
		if _, _, ok := k.RelBlock(); !ok {
			return nil
		}
		value, err := page.DecodeValue(append([]byte(nil), v...))
		req := requests[k]
		if req == nil {
			req = &walredo.Request{Key: k, LSN: f.whole.end, Version: d.Version, Flavour: f.flavour, Checksums: d.HintBits, Base: base.pages[k]}
			requests[k] = req
		}
		req.Records = append(req.Records, walredo.Record{LSN: lsn, Value: value})
		return err
	}))
	heap := insertions(d.Version, pg.RmHeap, pg.RmHeap2)
	btree := insertions(d.Version, pg.RmBtree)
	out := map[string]*replay{"all": {}, "heap-inserts": {}, "btree-inserts": {}}
	for _, req := range requests {
		out["all"].add(req, func(*walredo.Record) bool { return true })
		out["heap-inserts"].add(req, heap)
		out["btree-inserts"].add(req, btree)
	}
	return out
}

// insertions tells the records that put tuples on pages of these resource managers' indexes or tables.
func insertions(v pg.Version, managers ...pg.Rmgr) func(*walredo.Record) bool {
	kinds := map[string]bool{
		"INSERT": true, "INSERT+INIT": true, "MULTI_INSERT": true, "MULTI_INSERT+INIT": true,
		"INSERT_LEAF": true, "INSERT_UPPER": true, "INSERT_META": true, "INSERT_POST": true,
	}
	return func(r *walredo.Record) bool {
		var rec wal.Record
		if r.Value.Kind != page.KindPostgres || rec.Decode(v, r.Value.Bytes) != nil {
			return false
		}
		for _, m := range managers {
			if rec.Rmgr == m {
				return kinds[wal.OpName(v, rec.Rmgr, rec.Info)]
			}
		}
		return false
	}
}

// BenchmarkRedoReplay makes every page that the sample's WAL changes, from the image before and all its records, on one
// core. A redo is a record on a page.
func BenchmarkRedoReplay(b *testing.B) {
	all := replays(b)
	for _, name := range []string{"all", "heap-inserts", "btree-inserts"} {
		b.Run(name, func(b *testing.B) {
			redoer, buf := native.New(), make([]byte, 0, redoBuffer)
			b.ReportAllocs()
			for b.Loop() {
				all[name].once(b, redoer, buf, nil)
			}
			b.ReportMetric(float64(all[name].records)*float64(b.N)/b.Elapsed().Seconds(), "redos/s")
			b.ReportMetric(float64(all[name].records)/float64(len(all[name].requests)), "records/page")
		})
	}
}

// TestRedoReplay runs what the benchmark runs, once, and says what it computed.
func TestRedoReplay(t *testing.T) {
	for name, r := range replays(t) {
		sum := uint32(0) // of pages in any order
		r.once(t, native.New(), nil, func(p []byte) { sum += crc32.ChecksumIEEE(p) })
		t.Logf("%s: %d redos on %d pages, sum of crc32 %08x", name, r.records, len(r.requests), sum)
		require.Greater(t, r.records, int64(1000))
	}
}
