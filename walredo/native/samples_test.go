package native

import (
	"bytes"
	"context"
	"encoding/gob"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/pg/mask"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/walredo"
)

var rewrite = flag.Bool("rewrite", false, "write the sample of real records anew")

const sampleFile = "testdata/index-records.zst"

// realRecord is a record that a server wrote, and one of the pages that it changes, as it was before.
type realRecord struct {
	Version, Rmgr, Info, Block uint8 // Block: the reference that names the page
	LSN                        uint64
	Raw, Base                  []byte
}

// A server's records of indexes other than btree with some bytes changed, on the pages that they belong
// to, and those too with some bytes changed, give an error or a sound page.
func TestDamagedIndexRecords(t *testing.T) {
	if testkit.UnderRace {
		return // one goroutine, and a minute and more of work; the same runs without the detector
	}
	const v = pg.V17
	p := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"full_page_writes": "off", "wal_keep_size": "4GB"}})
	base := filepath.Join(t.TempDir(), "base")
	testkit.CopyTree(t, base, p.Data)
	p.Start()
	p.GinWork()
	p.BrinWork()
	p.GenericWork()
	p.HashWork()
	p.GistWork()
	p.SPGistWork()
	p.Stop()
	d, err := wal.NewDecoder(wal.DecoderOptions{Version: v, Start: endOfCheckpoint(t, base), SegSize: 16 << 20})
	require.NoError(t, err)
	d.Feed(segments(t, p.Data)[endOfCheckpoint(t, base)%(16<<20):])

	r := newReplayer(t, v, base)
	r.checksums = true
	w := sampler{t: t, r: r, rng: rand.New(rand.NewPCG(1, 2)), seen: map[string]int{}}
	var rec wal.Record
	for {
		ok, err := d.Next(&rec)
		if err != nil || !ok {
			break
		}
		switch rec.Rmgr {
		case pg.RmGin, pg.RmBRIN, pg.RmGeneric, pg.RmHash, pg.RmGist, pg.RmSPGist:
			w.damage(&rec)
		}
		r.record(&rec)
	}
	t.Logf("%d damaged records, %d applied nonetheless; samples of %d kinds", w.tried, w.applied, len(w.seen))
	require.Zero(t, r.failed)
	require.Greater(t, w.tried, testkit.Size(1000, 20_000, 100_000))
	compared, different, _ := r.compareWith(p.Data)
	require.Greater(t, compared, 2000)
	require.Zero(t, different)
	requireDeleteXids(t, r, p.Data)
	if *rewrite {
		writeSamples(t, w.samples)
	}
}

// requireDeleteXids looks at what the mask of GIN pages hides: which transaction may come to a deleted page last.
func requireDeleteXids(t *testing.T, r *replayer, data string) {
	deleted := 0
	for k, p := range r.pages {
		got := bufpage.Page(p)
		if len(p) == 0 || got.IsNew() || mask.KindOf(p, page.ForkMain) != mask.KindGin {
			continue
		}
		if o, err := ginPage(got); err != nil || o.flags()&(ginDeleted|ginData) != ginDeleted|ginData {
			continue
		}
		rel, n, _ := k.RelBlock()
		want := bufpage.Page(fileBlock(t, data, rel, n))
		require.Equal(t, want.PruneXid(), got.PruneXid(), k.Describe())
		require.NotZero(t, got.PruneXid())
		deleted++
	}
	require.Positive(t, deleted)
}

// sampler damages records, and keeps some of each kind as they are.
type sampler struct {
	t              *testing.T
	r              *replayer
	rng            *rand.Rand
	tried, applied int
	seen           map[string]int
	samples        []realRecord
}

func (w *sampler) damage(rec *wal.Record) {
	for i := range rec.Blocks {
		b := &rec.Blocks[i]
		k := b.Rel.Block(b.Blkno)
		kind := fmt.Sprintf("%d/%02X/%d", rec.Rmgr, rec.Info, b.ID)
		if rec.Rmgr == pg.RmGin && rec.Op() == 0x20 {
			kind += fmt.Sprintf("/%d", rec.Main[0])
		}
		w.seen[kind]++
		if n := w.seen[kind]; (n == 1 || n == 40) && !b.HasImage {
			w.samples = append(w.samples, realRecord{uint8(w.r.version), uint8(rec.Rmgr), rec.Info, b.ID, uint64(rec.End),
				bytes.Clone(rec.Raw), bytes.Clone(w.r.get(k))})
		}
		if w.seen[kind] > testkit.Size(100, 3000, 30_000) {
			continue
		}
		for range 2 {
			raw, p := bytes.Clone(rec.Raw), bytes.Clone(w.r.get(k))
			damage(w.rng, raw[20:])
			if len(p) > 0 && w.rng.IntN(2) == 0 {
				damage(w.rng, p)
			}
			w.tried++
			if redoDamaged(w.t, w.r.version, k, rec.End, raw, p) {
				w.applied++
			}
		}
	}
}

func redoDamaged(t testing.TB, v pg.Version, k page.Key, end page.LSN, raw, base []byte) bool {
	req := walredo.Request{Key: k, Version: v, Records: []walredo.Record{
		{LSN: end, Value: page.Value{Kind: page.KindPostgres, Bytes: raw}}}}
	if len(base) > 0 {
		req.Base = base
	}
	got, err := New().Redo(context.Background(), nil, &req)
	noBug(t, got, err)
	return err == nil
}

func writeSamples(t *testing.T, samples []realRecord) {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	require.NoError(t, err)
	require.NoError(t, gob.NewEncoder(z).Encode(samples))
	require.NoError(t, z.Close())
	require.NoError(t, os.MkdirAll(filepath.Dir(sampleFile), 0o755))
	require.NoError(t, os.WriteFile(sampleFile, b.Bytes(), 0o644))
}

func readSamples(t testing.TB) (samples []realRecord) {
	f, err := os.Open(sampleFile)
	require.NoError(t, err)
	defer f.Close()
	z, err := zstd.NewReader(f)
	require.NoError(t, err)
	defer z.Close()
	require.NoError(t, gob.NewDecoder(z).Decode(&samples))
	require.NotEmpty(t, samples)
	return samples
}

// key gives the page that block reference s.Block names.
func (s *realRecord) key(t testing.TB) page.Key {
	var rec wal.Record
	require.NoError(t, rec.Decode(pg.Version(s.Version), s.Raw))
	b := rec.Block(s.Block)
	require.NotNil(t, b)
	return b.Rel.Block(b.Blkno)
}

// FuzzIndexRecords starts from real records and pages of indexes other than btree.
func FuzzIndexRecords(f *testing.F) {
	samples := readSamples(f)
	for i := range samples {
		f.Add(i, samples[i].Raw, samples[i].Base)
	}
	keys := make([]page.Key, len(samples))
	for i := range samples {
		keys[i] = samples[i].key(f)
	}
	f.Fuzz(func(t *testing.T, i int, raw, base []byte) {
		if len(raw) > 1<<16 || len(base) != 0 && len(base) != pg.BlockSize {
			return
		}
		i = max(0, i) % len(samples)
		for v := pg.V14; v <= pg.V17; v++ {
			redoDamaged(t, v, keys[i], page.LSN(samples[i].LSN), raw, base)
		}
	})
}

// Redo of each real record allocates nothing but the page handed out.
func TestIndexRecordsAllocateNothing(t *testing.T) {
	r := New()
	samples := readSamples(t)
	limit := 2.0
	if testkit.UnderRace {
		limit = 4 // the detector makes the pool forget now and then, and a record may have many blocks
	}
	for i := range samples {
		s := &samples[i]
		req := walredo.Request{Key: s.key(t), Version: pg.Version(s.Version), Records: []walredo.Record{
			{LSN: page.LSN(s.LSN), Value: page.Value{Kind: page.KindPostgres, Bytes: s.Raw}}}}
		if len(s.Base) > 0 {
			req.Base = s.Base
		}
		buf := make([]byte, 0, 16<<10)
		allocs := testing.AllocsPerRun(50, func() {
			if _, err := r.Redo(context.Background(), buf, &req); err != nil {
				t.Fatal(err)
			}
		})
		require.Less(t, allocs, limit, "%s %02X block %d", pg.Rmgr(s.Rmgr), s.Info, s.Block)
	}
}

// BenchmarkIndexRecords redoes each kind of real record on its page.
func BenchmarkIndexRecords(b *testing.B) {
	r := New()
	for i, s := range readSamples(b) {
		req := walredo.Request{Key: s.key(b), Version: pg.Version(s.Version), Records: []walredo.Record{
			{LSN: page.LSN(s.LSN), Value: page.Value{Kind: page.KindPostgres, Bytes: s.Raw}}}}
		if len(s.Base) > 0 {
			req.Base = s.Base
		}
		b.Run(fmt.Sprintf("%d_%s_%02X_block%d", i, pg.Rmgr(s.Rmgr), s.Info, s.Block), func(b *testing.B) {
			buf := make([]byte, 0, 16<<10)
			for b.Loop() {
				if _, err := r.Redo(context.Background(), buf, &req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
