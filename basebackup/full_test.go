package basebackup

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/walredo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Where the small cluster of these tests ends.
const (
	smallPrev = page.LSN(0x2000100)
	smallLSN  = page.LSN(0x2000178)
)

var (
	plain    = page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 16384}
	unlogged = page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 16390}
	empty    = page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 16400}
	shared   = page.RelTag{Spc: pg.GlobalTablespace, DB: 0, Rel: 1262}
	inSpace  = page.RelTag{Spc: 16500, DB: 5, Rel: 16501}
)

// block makes a page that is not new and says what it is.
func block(rel page.RelTag, n uint32) []byte {
	p := make([]byte, pg.BlockSize)
	binary.LittleEndian.PutUint16(p[12:], 24)   // pd_lower
	binary.LittleEndian.PutUint16(p[14:], 8000) // pd_upper
	copy(p[8000:], fmt.Sprintf("%s block %d", rel, n))
	return p
}

func manyBlocks(rel page.RelTag, n int) (out [][]byte) {
	for i := range n {
		out = append(out, block(rel, uint32(i)))
	}
	return out
}

// small makes a cluster with one of everything.
func small(v pg.Version, checksums bool) *model {
	m := newModel().empty(v)
	control, checkpoint := controlOf(v, checksums)
	m.put(page.ControlFileKey, control)
	m.put(page.CheckpointKey, checkpoint)
	m.putRecord(smallPrev, smallLSN)
	m.putDatabase(pg.GlobalTablespace, 0, []byte("shared map"))
	m.putRelation(shared, manyBlocks(shared, 2)...)
	m.putDatabase(pg.DefaultTablespace, 5, []byte("map of 5"))
	m.putRelation(plain, append(manyBlocks(plain, 5), make([]byte, pg.BlockSize))...)
	m.putRelation(plain.WithFork(page.ForkFSM), make([]byte, pg.BlockSize))
	m.putRelation(plain.WithFork(page.ForkVM), block(plain.WithFork(page.ForkVM), 0))
	m.putRelation(unlogged, manyBlocks(unlogged, 3)...)
	m.putRelation(unlogged.WithFork(page.ForkVM), make([]byte, pg.BlockSize))
	m.putRelation(unlogged.WithFork(page.ForkInit), block(unlogged.WithFork(page.ForkInit), 0))
	m.putRelation(empty)
	m.putDatabase(inSpace.Spc, inSpace.DB, nil)
	m.putRelation(inSpace, manyBlocks(inSpace, 1)...)
	m.putFile(page.ClusterFileKey("pg_tblspc/16500"), "pg_tblspc/16500", "/somewhere")
	m.putFile(page.ClusterFileKey("pg_tblspc/16600"), "pg_tblspc/16600", "/elsewhere")
	stamped := append(bytes.Repeat([]byte{0x55}, pg.BlockSize), 1, 2, 3, 4, 5, 6, 7, 8)
	m.putSLRU(page.Clog, 0, stamped, make([]byte, pg.BlockSize))
	m.putSLRU(page.MultixactOffsets, 0, offsetsPage(map[uint32]uint32{1: 1, 2: 3}, 0))
	m.putSLRU(page.MultixactMembers, 0, make([]byte, pg.BlockSize))
	m.put(page.TwoPhaseKey(800), []byte("state of 800"))
	m.put(page.TwoPhaseDirKey, datadir.EncodeTwoPhase(v, []uint64{800}))
	m.put(page.OriginKey(3), binary.BigEndian.AppendUint64(nil, 0xAABBCC))
	m.put(page.OriginKey(4), binary.BigEndian.AppendUint64(nil, 0))
	m.putFile(page.AuxKey("pg_logical/mappings/map-1"), "pg_logical/mappings/map-1", "a mapping")
	m.putFile(page.AuxKey("pg_replslot/s/state"), "pg_replslot/s/state", "a slot")
	return m
}

type entry struct {
	name    string
	content string
}

func full(t testing.TB, m datadir.Reader, o Options) (entries []entry, raw []byte) {
	t.Helper()
	var buf bytes.Buffer
	r, err := Write(t.Context(), &buf, m, o)
	require.NoError(t, err)
	raw = bytes.Clone(buf.Bytes())
	require.EqualValues(t, len(raw), r.Bytes)
	tr := tar.NewReader(&buf)
	files := 0
	for {
		h, err := tr.Next()
		if err == io.EOF {
			require.Equal(t, files, r.Files)
			return entries, raw
		}
		require.NoError(t, err)
		b, err := io.ReadAll(tr)
		require.NoError(t, err)
		entries = append(entries, entry{h.Name, string(b)})
		if h.Typeflag == tar.TypeReg {
			files++
			require.EqualValues(t, 0o600, h.Mode)
		}
	}
}

func contents(entries []entry) map[string]string {
	m := make(map[string]string)
	for _, e := range entries {
		m[e.name] = e.content
	}
	return m
}

func TestFullHoldsEverything(t *testing.T) {
	for _, v := range []pg.Version{pg.V15, pg.V17} {
		entries, _ := full(t, small(v, false), Options{LSN: smallLSN + 8, Version: v})
		got := contents(entries)
		require.Len(t, got, len(entries), "no name occurs twice")
		var names []string
		for _, e := range entries {
			names = append(names, e.name)
		}
		space := fmt.Sprintf("pg_tblspc/16500/PG_%d_%d/", v, v.CatalogVersion())
		require.Equal(t, wantNames(v, space), names)
		all := func(rel page.RelTag, n int) string { return string(bytes.Join(manyBlocks(rel, n), nil)) }
		require.Equal(t, all(plain, 5)+string(make([]byte, pg.BlockSize)), got["base/5/16384"])
		init := string(block(unlogged.WithFork(page.ForkInit), 0))
		require.Equal(t, init, got["base/5/16390"])
		require.Equal(t, init, got["base/5/16390_init"])
		require.Equal(t, all(shared, 2), got["global/1262"])
		require.Equal(t, all(inSpace, 1), got[space+"5/16501"])
		require.Equal(t, "map of 5", got["base/5/pg_filenode.map"])
		require.Equal(t, v.VersionFile(), got["base/5/PG_VERSION"])
		require.Len(t, got["pg_xact/0000"], 2*pg.BlockSize, "without the time behind the page")
		require.Equal(t, string(offsetsPage(map[uint32]uint32{1: 1, 2: 3, 3: 5}, 0)), got["pg_multixact/offsets/0000"])
		require.Equal(t, string(withCRC([]byte("state of 800"))), got[twoPhaseName(v, 800)])
		require.Len(t, got[originsPath], 4+16+4)
		require.Contains(t, got["postgresql.conf"], "max_prepared_transactions = 7\n")
		require.Contains(t, got["postgresql.conf"], "wal_level = logical\n")
	}
}

func wantNames(v pg.Version, space string) []string {
	var names []string
	for _, d := range directories {
		names = append(names, d+"/")
	}
	if v >= pg.V17 {
		names = append(names, "pg_wal/summaries/")
	}
	names = append(names, "PG_VERSION", "pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf", "postgresql.conf",
		"pg_logical/mappings/map-1", originsPath, twoPhaseName(v, 800), "pg_tblspc/16500/", space,
		"pg_tblspc/16600/", strings.Replace(space, "16500", "16600", 1),
		"pg_xact/0000", "pg_multixact/members/0000", "pg_multixact/offsets/0000",
		"base/5/", "base/5/PG_VERSION", "base/5/pg_filenode.map", "base/5/16384", "base/5/16384_vm",
		"base/5/16390", "base/5/16390_init", "base/5/16400",
		"global/pg_filenode.map", "global/1262", space+"5/", space+"5/16501",
		"global/pg_control", "pg_wal/000000010000000000000002")
	return names
}

// TestFullIsDeterministic makes the same backup with every way of reading.
func TestFullIsDeterministic(t *testing.T) {
	m := small(pg.V15, true)
	m.putRelation(page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 20000}, manyBlocks(plain, 300)...)
	_, want := full(t, m, Options{LSN: smallLSN, Version: pg.V15})
	for _, o := range []Options{{RangeBlocks: 1, Readers: 1, ReadAhead: 1}, {RangeBlocks: 7, Readers: 3, ReadAhead: 1}, {RangeBlocks: 1000}} {
		o.LSN, o.Version = smallLSN, pg.V15
		_, got := full(t, m, o)
		require.True(t, bytes.Equal(want, got), "%+v", o)
	}
}

// TestFullGathersReads bounds the number of reads: one for each of hundreds of small relations would make a
// small cluster's backup slow.
func TestFullGathersReads(t *testing.T) {
	m := small(pg.V15, true)
	for i := range uint32(1000) {
		rel := page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 20000 + i}
		m.putRelation(rel, block(rel, 0))
	}
	m.reads = 0
	full(t, m, Options{LSN: smallLSN, Version: pg.V15})
	require.Less(t, m.reads, 40)
}

func TestFullChecksums(t *testing.T) {
	for _, on := range []bool{false, true} {
		entries, _ := full(t, small(pg.V15, on), Options{LSN: smallLSN, Version: pg.V15})
		pages := 0
		for _, e := range entries {
			if !strings.HasPrefix(e.name, "base/5/16") && !strings.HasPrefix(e.name, "global/1262") {
				continue
			}
			for i, b := range blocks([]byte(e.content)) {
				p := bufpage.Page(b)
				require.Equal(t, on || p.IsZero(), p.ChecksumOK(uint32(i)), "%s block %d", e.name, i)
				if p.IsZero() {
					require.Zero(t, p.StoredChecksum())
				}
				pages++
			}
		}
		require.Equal(t, 6+1+2+2, pages)
	}
}

// endless is a relation of as many blocks as asked for, beside what m holds.
type endless struct {
	*model
	rel page.RelTag
}

func (e endless) GetVectored(ctx context.Context, keys page.Set, lsn page.LSN, fn func(page.Key, []byte, error) error) error {
	for _, r := range keys.Ranges() {
		rel, n, ok := r.Start.RelBlock()
		if !ok || rel != e.rel {
			if err := e.model.GetVectored(ctx, page.NewSet(r), lsn, fn); err != nil {
				return err
			}
			continue
		}
		p := block(rel, 0)
		for k := r.Start; k.Less(r.End); k, n = k.Next(), n+1 {
			binary.LittleEndian.PutUint32(p[8000:], n)
			if err := fn(k, p, nil); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// bigCluster has a relation of n blocks.
func bigCluster(n uint32) endless {
	rel := page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 30000}
	m := small(pg.V15, true)
	m.putRelation(rel)
	m.put(rel.SizeKey(), datadir.EncodeSize(n))
	return endless{m, rel}
}

// TestFullBeyondOneFile looks at the files of a relation behind the first GiB.
func TestFullBeyondOneFile(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	src := bigCluster(pg.RelSegBlocks + 2)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := Write(t.Context(), w, src, Options{LSN: smallLSN, Version: pg.V15})
		w.Close()
		done <- err
	}()
	sizes := make(map[string]int64)
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		sizes[h.Name] = h.Size
		if h.Name == "base/5/30000.1" {
			b, err := io.ReadAll(tr)
			require.NoError(t, err)
			for i, b := range blocks(b) {
				n := uint32(pg.RelSegBlocks + i)
				require.Equal(t, n, binary.LittleEndian.Uint32(b[8000:]))
				require.True(t, bufpage.Page(b).ChecksumOK(n))
			}
		}
	}
	_, err := io.Copy(io.Discard, r)
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.EqualValues(t, 1<<30, sizes["base/5/30000"])
	require.EqualValues(t, 2*pg.BlockSize, sizes["base/5/30000.1"])
}

// TestFullFails: whatever cannot be read fails the backup and is named; the archive then has no control file.
func TestFullFails(t *testing.T) {
	hash := &walredo.Error{Key: plain.Block(3), LSN: 0x1999998, Rmgr: pg.RmHash, Info: 0x20, Err: walredo.ErrUnsupported}
	for name, c := range map[string]struct {
		spoil func(m *model)
		want  []string
	}{
		"redo": {func(m *model) { m.errs[plain.Block(3)] = hash },
			[]string{"relation 1663/5/16384 block 3 at LSN 0/2000178", "Hash", "0/1999998"}},
		"missing block":      {func(m *model) { delete(m.values, plain.Block(2)) }, []string{"relation 1663/5/16384 block 2", "no such key"}},
		"missing last block": {func(m *model) { delete(m.values, inSpace.Block(0)) }, []string{"relation 16500/5/16501 block 0"}},
		"short block":        {func(m *model) { m.put(plain.Block(1), []byte("x")) }, []string{"block 1", "1 bytes"}},
		"stamped block":      {func(m *model) { m.put(plain.Block(1), make([]byte, clogStamped)) }, []string{"block 1", "8200 bytes"}},
		"missing size":       {func(m *model) { delete(m.values, plain.SizeKey()) }, []string{"size of relation 1663/5/16384"}},
		"missing map":        {func(m *model) { delete(m.values, page.RelMapKey(1663, 5)) }, []string{"relation map of database 1663/5"}},
		"missing clog page":  {func(m *model) { delete(m.values, page.Clog.Block(0, 1)) }, []string{"pg_xact segment 0000 page 1"}},
		"short clog":         {func(m *model) { m.put(page.Clog.DirKey(), datadir.EncodeSegments(nil)) }, []string{"pg_xact page 0", "next transaction 900"}},
		"long segment":       {func(m *model) { m.put(page.Clog.SizeKey(0), datadir.EncodeSize(33)) }, []string{"33 pages"}},
		"missing state":      {func(m *model) { delete(m.values, page.TwoPhaseKey(800)) }, []string{"prepared transaction 800"}},
		"no record":          {func(m *model) { delete(m.values, page.RecordsKey(smallLSN)) }, []string{"no record ends at or before"}},
		"no control file":    {func(m *model) { delete(m.values, page.ControlFileKey) }, []string{"control file"}},
		"bad control file":   {func(m *model) { m.put(page.ControlFileKey, make([]byte, 8192)) }, []string{"control"}},
		"short control file": {func(m *model) { m.put(page.ControlFileKey, make([]byte, 8)) }, []string{"control"}},
		"no checkpoint":      {func(m *model) { delete(m.values, page.CheckpointKey) }, []string{"checkpoint"}},
		"short checkpoint":   {func(m *model) { m.put(page.CheckpointKey, make([]byte, 8)) }, []string{"checkpoint"}},
		"odd history": {func(m *model) { m.putFile(page.ClusterFileKey("pg_wal/x"), "pg_wal/x", "") },
			[]string{`"pg_wal/x" is no timeline history`}},
		"path out":      {func(m *model) { m.putFile(page.AuxKey("../evil"), "../evil", "x") }, []string{`"../evil" does not lie`}},
		"path absolute": {func(m *model) { m.putFile(page.AuxKey("/etc/x"), "/etc/x", "x") }, []string{`"/etc/x" does not lie`}},
		"path of ours": {func(m *model) { m.putFile(page.AuxKey("global/pg_control"), "global/pg_control", "x") },
			[]string{`"global/pg_control" would replace`}},
		"path of configuration": {func(m *model) { m.putFile(page.AuxKey("pg_hba.conf"), "pg_hba.conf", "x") },
			[]string{`"pg_hba.conf" occurs twice`}},
	} {
		t.Run(name, func(t *testing.T) {
			m := small(pg.V15, true)
			c.spoil(m)
			m.sorted = nil
			var buf bytes.Buffer
			_, err := Write(t.Context(), &buf, m, Options{LSN: smallLSN, Version: pg.V15, RangeBlocks: 2})
			require.Error(t, err)
			for _, w := range c.want {
				require.ErrorContains(t, err, w)
			}
			require.NotContains(t, buf.String(), controlFilePath)
			if name == "redo" {
				require.ErrorIs(t, err, walredo.ErrUnsupported)
			}
		})
	}
}

func TestFullStops(t *testing.T) {
	src := bigCluster(100000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := Write(ctx, io.Discard, src, Options{LSN: smallLSN, Version: pg.V15, Progress: func(p Progress) {
		if p.Bytes > 20<<20 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)

	full := errors.New("disk full")
	_, err = Write(t.Context(), &limited{100 << 20, full}, src, Options{LSN: smallLSN, Version: pg.V15})
	require.ErrorIs(t, err, full)
}

// limited takes so many bytes and then fails.
type limited struct {
	left int
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, l.err
	}
	return len(p), nil
}

func TestFullOptions(t *testing.T) {
	_, err := Write(t.Context(), io.Discard, small(pg.V15, false), Options{Version: 9, RangeBlocks: -1, Readers: 1000, ReadAhead: 1 << 20})
	for _, w := range []string{"LSN is not set", "Version 9", "RangeBlocks is -1", "Readers is 1000", "ReadAhead is 1048576"} {
		require.ErrorContains(t, err, w)
	}
}

func TestFullProgress(t *testing.T) {
	var last Progress
	r, err := Write(t.Context(), io.Discard, bigCluster(5000), Options{LSN: smallLSN, Version: pg.V15, Progress: func(p Progress) {
		require.GreaterOrEqual(t, p.Bytes, last.Bytes)
		require.GreaterOrEqual(t, p.Files, last.Files)
		last = p
	}})
	require.NoError(t, err)
	require.Equal(t, r.Bytes, last.Bytes)
	require.Equal(t, r.Files, last.Files)
	require.EqualValues(t, (5000+6+1+2+2+1)*pg.BlockSize, last.Total)
}

// BenchmarkFull shows what writing costs where reading is free.
func BenchmarkFull(b *testing.B) {
	const n = 40000
	src := bigCluster(n)
	b.SetBytes(n * pg.BlockSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Write(b.Context(), io.Discard, src, Options{LSN: smallLSN, Version: pg.V15}); err != nil {
			b.Fatal(err)
		}
	}
}
