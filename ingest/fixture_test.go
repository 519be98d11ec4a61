package ingest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/datadir/datadirtest"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/walredo/native"
)

// importDir imports a data directory into a new store.
func importDir(t testing.TB, dir string, f pg.Flavour) (*datadirtest.Store, *DataDir, ImportStats) {
	t.Helper()
	d, err := OpenDataDir(dir)
	require.NoError(t, err)
	s := datadirtest.New(d.Version, f, native.New())
	s.Last, s.Prev, s.HintBits = d.LSN, d.PrevLSN, d.HintBits
	stats, err := d.Import(context.Background(), s, nil)
	require.NoError(t, err)
	return s, d, stats
}

func newIngester(t testing.TB, s *datadirtest.Store, o Options) *Ingester {
	t.Helper()
	o.Version, o.Flavour = s.Version, s.Flavour
	i, err := NewIngester(context.Background(), s, o)
	require.NoError(t, err)
	return i
}

// walDir writes a fixture's segment into a directory.
func walDir(t testing.TB, fixture, segment string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, segment), testkit.FixtureZstd(t, fixture), 0o600))
	return dir
}

// The figures are those of a decoder that is not ours, over a segment that a Neon compute wrote.
func TestRealWALOfNeon15(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	ctx := context.Background()
	base := t.TempDir()
	testkit.UntarFixture(t, base, "real-wal-pg15/initdb.tar.zst")
	s, d, _ := importDir(t, base, pg.Neon)
	require.Equal(t, page.LSN(0x14AEC08), d.LSN)
	require.Equal(t, page.LSN(0x14AEB90), d.PrevLSN)
	raw := testkit.FixtureZstd(t, "real-wal-pg15/000000010000000000000001.zst")

	i := newIngester(t, s, Options{})
	dec, err := wal.NewDecoder(wal.DecoderOptions{Version: pg.V15, Start: d.LSN, SegSize: d.SegSize, SystemID: d.SystemID})
	require.NoError(t, err)
	var rec wal.Record
	const segStart, chunk = 0x1000000, 50
	for at := int(d.LSN) - segStart; at < len(raw); at += chunk {
		dec.Feed(raw[at:min(at+chunk, len(raw))])
		for {
			ok, err := dec.Next(&rec)
			require.NoError(t, err)
			if !ok {
				break
			}
			require.NoError(t, i.Record(ctx, &rec))
		}
	}
	require.NoError(t, i.Commit(ctx))
	require.Equal(t, page.LSN(0x1FFFF98), s.Last)
	require.Equal(t, Stats{
		Records: 72925, Blocks: 72821, Images: 12, Inits: 1210, VMClear: 6, Created: 8, Gaps: i.Stats().Gaps,
	}, i.Stats())

	snap := datadir.At(s, s.Last, pg.V15)
	rels, err := snap.Relations(ctx, 1663, 5)
	require.NoError(t, err)
	before, err := datadir.At(s, d.LSN, pg.V15).Relations(ctx, 1663, 5)
	require.NoError(t, err)
	for _, rel := range []uint32{16384, 16387, 16390, 16393, 16396, 16397, 16398, 16399} {
		tag := page.RelTag{Spc: 1663, DB: 5, Rel: rel}
		require.NotContains(t, before, tag)
		require.Contains(t, rels, tag)
	}
	for _, c := range []struct {
		rel  uint32
		fork page.Fork
		size uint32
	}{
		{16396, page.ForkMain, 1189}, {16396, page.ForkFSM, 3}, {16397, page.ForkMain, 1}, {16399, page.ForkMain, 1},
		{1249, page.ForkMain, 57}, {2608, page.ForkMain, 14}, {1247, page.ForkMain, 15}, {2658, page.ForkMain, 15},
		{2659, page.ForkMain, 11}, {2673, page.ForkMain, 10}, {2674, page.ForkMain, 8},
	} {
		n, err := snap.RelSize(ctx, page.RelTag{Spc: 1663, DB: 5, Rel: c.rel, Fork: c.fork})
		require.NoError(t, err)
		require.Equal(t, c.size, n, "size of %d %s", c.rel, c.fork)
	}
	b, err := snap.CheckPoint(ctx)
	require.NoError(t, err)
	cp, err := control.ParseCheckPoint(b)
	require.NoError(t, err)
	require.Equal(t, uint64(2048), cp.NextXid())

	span, _, err := snap.RecordBefore(ctx, s.Last)
	require.NoError(t, err)
	require.Equal(t, datadir.RecordSpan{Start: rec.Start, End: rec.End}, span)
	for lsn, want := range map[page.LSN]page.LSN{0x14AEC08: 0x14AEC08, 0x14AEC3F: 0x14AEC08, 0x14AEC40: 0x14AEC40, 0x14AECCF: 0x14AEC90} {
		span, _, err := snap.RecordBefore(ctx, lsn)
		require.NoError(t, err)
		require.Equal(t, want, span.End)
	}
}

// A stock server of 17 ran pgbench: what is not redo's work equals its files at the end.
func TestClusterOf17AfterPgbench(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	ctx := context.Background()
	base, final := t.TempDir(), t.TempDir()
	testkit.UntarFixture(t, base, "neon-pg17/base-pgdata.tar.zst")
	testkit.UntarFixture(t, final, "neon-pg17/final-pgdata.tar.zst")
	s, d, stats := importDir(t, base, pg.Stock)
	require.Equal(t, page.LSN(0x2377B20), d.LSN)
	require.True(t, d.Checksums)
	t.Logf("import: %+v", stats)

	dir := walDir(t, "neon-pg17/000000010000000000000002.zst", "000000010000000000000002")
	half := page.LSN(0x25E23A8)
	res, err := newIngester(t, s, Options{}).Dir(ctx, dir, half+4, nil)
	require.NoError(t, err)
	require.Equal(t, half, res.LSN)
	i := newIngester(t, s, Options{})
	rest, err := i.Dir(ctx, dir, 0, nil)
	require.NoError(t, err)
	require.Equal(t, page.LSN(0x2E770A0), rest.LSN)
	require.Equal(t, int64(138310), res.Records+rest.Records)
	require.Equal(t, s.Last, rest.LSN)

	f, err := control.Read(filepath.Join(final, "global", "pg_control"))
	require.NoError(t, err)
	want := f.CheckPoint()
	got, err := datadir.At(s, s.Last, pg.V17).CheckPoint(ctx)
	require.NoError(t, err)
	require.Equal(t, want[:], got, "checkpoint")
	cmp := compareDirs(t, s, final)
	t.Logf("compared: %+v", cmp)
	require.Greater(t, cmp.pages, 2000)
	require.Empty(t, cmp.different)

	again, err := newIngester(t, s, Options{}).Dir(ctx, dir, 0, nil)
	require.NoError(t, err)
	require.Equal(t, Result{LSN: s.Last}, again)

	_, err = newIngester(t, s, Options{}).Dir(ctx, dir, s.Last+7, nil)
	require.NoError(t, err, "padding is not beyond the last record")
	_, err = newIngester(t, s, Options{}).Dir(ctx, dir, s.Last+8, nil)
	require.ErrorIs(t, err, ErrUntil)
	require.ErrorContains(t, err, "0/2E770A0, before 0/2E770A8")
}

// A directory whose later segments are at fault is refused before its first record.
func TestDirRefusedAtOnce(t *testing.T) {
	base := t.TempDir()
	testkit.UntarFixture(t, base, "neon-pg17/base-pgdata.tar.zst")
	s, _, _ := importDir(t, base, pg.Stock)
	before := s.Last
	dir := walDir(t, "neon-pg17/000000010000000000000002.zst", "000000010000000000000002")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "000000010000000000000003"), []byte("short"), 0o600))
	_, err := newIngester(t, s, Options{}).Dir(context.Background(), dir, 0, nil)
	require.ErrorIs(t, err, wal.ErrTruncated)
	require.Equal(t, before, s.Last)
}

// comparison says how a store's state and a stopped cluster's files compare.
type comparison struct {
	relations, pages, maps, emptyMaps, slru, relMaps int
	different                                        []string
}

func (c *comparison) differ(what string) {
	if len(c.different) < 40 {
		c.different = append(c.different, what)
	}
}

// compareDirs imports the cluster beside the store and compares relations, sizes, visibility maps, SLRUs,
// relation maps and prepared transactions. Main forks are compared only in size: their content is redo's.
func compareDirs(t testing.TB, s *datadirtest.Store, dir string) (c comparison) {
	t.Helper()
	ctx := context.Background()
	final, d, _ := importDir(t, dir, s.Flavour)
	require.Equal(t, s.Last, d.LSN)
	ours, theirs := datadir.At(s, s.Last, s.Version), datadir.At(final, final.Last, s.Version)
	compare := func(what string, a, b any) {
		if !equalValues(a, b) {
			c.differ(what)
		}
	}
	a, err := ours.Databases(ctx)
	require.NoError(t, err)
	b, err := theirs.Databases(ctx)
	require.NoError(t, err)
	compare("databases", a, b)
	for _, db := range b {
		if db.HasRelMap {
			x, err := ours.RelMap(ctx, db.Spc, db.DB)
			require.NoError(t, err)
			y, err := theirs.RelMap(ctx, db.Spc, db.DB)
			require.NoError(t, err)
			c.relMaps++
			compare(page.RelMapKey(db.Spc, db.DB).Describe(), x, y)
		}
		compareRelations(t, &c, ours, theirs, s, final, db)
	}
	for _, kind := range page.SLRUs {
		compareSLRU(t, &c, ours, theirs, s, final, kind)
	}
	x, err := ours.TwoPhase(ctx)
	require.NoError(t, err)
	y, err := theirs.TwoPhase(ctx)
	require.NoError(t, err)
	compare("prepared transactions", x, y)
	for _, xid := range y {
		x, err := ours.TwoPhaseState(ctx, xid)
		require.NoError(t, err)
		y, err := theirs.TwoPhaseState(ctx, xid)
		require.NoError(t, err)
		compare("state of a prepared transaction", x, y)
	}
	return c
}

func compareRelations(t testing.TB, c *comparison, ours, theirs *datadir.Snapshot, s, final *datadirtest.Store, db datadir.Database) {
	ctx := context.Background()
	rels, err := theirs.Relations(ctx, db.Spc, db.DB)
	require.NoError(t, err)
	mine, err := ours.Relations(ctx, db.Spc, db.DB)
	require.NoError(t, err)
	have := make(map[page.RelTag]bool)
	for _, rel := range mine {
		have[rel] = true
	}
	for _, rel := range rels {
		if rel.Fork == page.ForkFSM {
			delete(have, rel)
			continue
		}
		if !have[rel] {
			n, _ := theirs.RelSize(ctx, rel)
			if rel.Fork != page.ForkVM || n > 0 && hasVMBits(t, final, rel, n) {
				c.differ("not there: " + rel.String())
			}
			continue
		}
		delete(have, rel)
		x, err := ours.RelSize(ctx, rel)
		require.NoError(t, err)
		y, err := theirs.RelSize(ctx, rel)
		require.NoError(t, err)
		c.relations++
		c.pages += int(y)
		if x != y && !(x < y && zeroFrom(t, final, rel, x, y)) {
			c.differ(fmt.Sprintf("size of %s: %d, want %d", rel, x, y))
		}
		if rel.Fork == page.ForkVM {
			for n := range min(x, y) {
				compareVM(t, c, s, final, rel, n)
			}
		}
	}
	for rel := range have {
		if rel.Fork != page.ForkFSM {
			c.differ("too much: " + rel.String())
		}
	}
}

// zeroFrom reports whether the pages from x to y are zero: a server extends files without saying so in WAL.
func zeroFrom(t testing.TB, s *datadirtest.Store, rel page.RelTag, x, y uint32) bool {
	for b := x; b < y; b++ {
		v, err := s.Get(context.Background(), rel.Block(b), s.Last)
		require.NoError(t, err)
		if !bytes.Equal(v, make([]byte, pg.BlockSize)) {
			return false
		}
	}
	return true
}

func hasVMBits(t testing.TB, s *datadirtest.Store, rel page.RelTag, n uint32) bool {
	for b := range n {
		v, err := s.Get(context.Background(), rel.Block(b), s.Last)
		require.NoError(t, err)
		if !bytes.Equal(v[24:], make([]byte, len(v)-24)) {
			return true
		}
	}
	return false
}

func compareVM(t testing.TB, c *comparison, s, final *datadirtest.Store, rel page.RelTag, n uint32) {
	ctx := context.Background()
	x, err := s.Get(ctx, rel.Block(n), s.Last)
	if err != nil {
		c.differ(err.Error())
		return
	}
	y, err := final.Get(ctx, rel.Block(n), final.Last)
	require.NoError(t, err)
	c.maps++
	switch {
	case bytes.Equal(x[24:], y[24:]):
	case emptyCopy(s.Versions(rel.Block(n)), x, y):
		c.emptyMaps++
	default:
		c.differ("map " + rel.String())
	}
}

// emptyCopy reports whether a map page began as an image without a set bit, and what is set since is set in
// the server's page y too. CREATE DATABASE with STRATEGY WAL_LOG logs map pages as if the space between their
// pd_lower and pd_upper, which is all of the map, were unused: the bits are not in WAL, and PostgreSQL's own
// recovery starts from an empty map, too.
func emptyCopy(vs []datadirtest.Version, x, y []byte) bool {
	v, err := page.DecodeValue(vs[0].Value)
	if err != nil || v.Kind != page.KindImage || !bytes.Equal(v.Bytes[24:], make([]byte, pg.BlockSize-24)) {
		return false
	}
	for i := 24; i < pg.BlockSize; i++ {
		if x[i]&^y[i] != 0 {
			return false
		}
	}
	return true
}

func compareSLRU(t testing.TB, c *comparison, ours, theirs *datadir.Snapshot, s, final *datadirtest.Store, kind page.SLRU) {
	ctx := context.Background()
	mine, err := ours.SLRUSegments(ctx, kind)
	require.NoError(t, err)
	segs, err := theirs.SLRUSegments(ctx, kind)
	require.NoError(t, err)
	if !equalValues(mine, segs) {
		c.differ("segments of " + kind.String())
		return
	}
	for _, seg := range segs {
		x, err := ours.SLRUSegmentPages(ctx, kind, seg)
		require.NoError(t, err)
		y, err := theirs.SLRUSegmentPages(ctx, kind, seg)
		require.NoError(t, err)
		if x != y {
			c.differ(kind.SizeKey(seg).Describe())
		}
		for n := range min(x, y) {
			k := kind.Block(seg, n)
			x, err := s.Get(ctx, k, s.Last)
			require.NoError(t, err)
			y, err := final.Get(ctx, k, final.Last)
			require.NoError(t, err)
			c.slru++
			for i := range y {
				if x[i] != y[i] {
					c.differ(fmt.Sprintf("%s byte %d: %02X, want %02X", k.Describe(), i, x[i], y[i]))
				}
			}
		}
	}
}

// equalValues compares lists and bytes; nil equals empty.
func equalValues(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }
