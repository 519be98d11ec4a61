package basebackup

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
)

// slot makes a replication slot's file that needs WAL from an LSN on.
func slot(restart page.LSN) string {
	b := make([]byte, 200)
	binary.LittleEndian.PutUint64(b[96:], uint64(restart))
	return string(b)
}

// computeCluster is the small cluster as one of Neon's has it: no user tablespaces, slots, and a checkpoint whose redo
// pointer says whether the last record is a shutdown's.
func computeCluster(v pg.Version, redo page.LSN) *model {
	m := small(v, false)
	_, checkpoint := controlOf(v, false)
	binary.LittleEndian.PutUint64(checkpoint, uint64(redo))
	m.put(page.CheckpointKey, checkpoint)
	m.put(page.DBDirKey, nil)
	m.put(page.DBDirKey, func() []byte {
		n := newModel().empty(v)
		n.putDatabase(pg.GlobalTablespace, 0, []byte("x"))
		n.putDatabase(pg.DefaultTablespace, 5, []byte("x"))
		return n.values[page.DBDirKey]
	}())
	m.putFile(page.AuxKey("pg_replslot/s/state"), "pg_replslot/s/state", slot(0x1800000))
	m.putFile(page.AuxKey("pg_replslot/other/state"), "pg_replslot/other/state", slot(0x1700000))
	m.putFile(page.AuxKey("pg_stat/pgstat.stat"), "pg_stat/pgstat.stat", "statistics")
	m.putFile(page.AuxKey(originsPath), originsPath, "an old one")
	return m
}

func TestCompute(t *testing.T) {
	for _, v := range []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17} {
		o := Options{LSN: smallLSN, Version: v, Format: FormatCompute, PrevLSN: smallPrev}
		entries, _ := full(t, computeCluster(v, smallLSN), o)
		got := contents(entries)
		require.Len(t, got, len(entries), "no name occurs twice")
		var names []string
		for _, e := range entries {
			if !strings.HasSuffix(e.name, "/") {
				names = append(names, e.name)
			}
		}
		require.Equal(t, []string{"pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf", "PG_VERSION",
			"pg_xact/0000", "pg_multixact/members/0000", "pg_multixact/offsets/0000",
			"base/5/PG_VERSION", "base/5/pg_filenode.map", "base/5/16390", "base/5/16390_init", "global/pg_filenode.map",
			"pg_logical/mappings/map-1", "pg_replslot/other/state", "pg_replslot/s/state", "pg_stat/pgstat.stat", "restart.lsn",
			twoPhaseName(v, 800), originsPath, "neon.signal", "zenith.signal", "global/pg_control", "pg_wal/000000010000000000000002"}, names)
		require.Contains(t, got, "base/1/")
		require.Equal(t, v >= pg.V17, func() bool { _, ok := got["pg_wal/summaries/"]; return ok }())
		require.Equal(t, "PREV LSN: 0/2000100", got["neon.signal"])
		require.Equal(t, got["neon.signal"], got["zenith.signal"])
		require.Equal(t, page.LSN(0x1700000), page.LSN(binary.LittleEndian.Uint64([]byte(got["restart.lsn"]))))

		c, err := control.Parse([]byte(got["global/pg_control"]))
		require.NoError(t, err)
		require.Equal(t, control.ShutDown, c.State())
		require.Zero(t, c.CheckPointLSN())
		cp := c.CheckPoint()
		require.Equal(t, smallLSN, cp.Redo(), "where WAL goes on")
		require.EqualValues(t, 900, cp.NextXid())
		wal := got["pg_wal/000000010000000000000002"]
		require.Len(t, wal, 16<<20)
		require.Equal(t, strings.Repeat("\x00", 16<<20-int(smallLSN&0xFFFFFF)), wal[smallLSN&0xFFFFFF:], "there is no record")
	}
}

func TestComputeOptions(t *testing.T) {
	base := Options{LSN: smallLSN, Version: pg.V16, Format: FormatCompute}
	run := func(m *model, change func(o *Options)) map[string]string {
		o := base
		change(&o)
		entries, _ := full(t, m, o)
		return contents(entries)
	}
	running := computeCluster(pg.V16, 0)
	got := run(running, func(o *Options) { o.Replica = true })
	require.NotContains(t, got, "restart.lsn")
	require.NotContains(t, got, "pg_replslot/s/state")
	require.NotContains(t, got, "pg_stat/pgstat.stat", "of a server that runs")
	require.Equal(t, "PREV LSN: invalid", got["neon.signal"])
	require.Equal(t, "PREV LSN: none", run(running, func(o *Options) { o.BranchPoint = true })["neon.signal"])
	require.Equal(t, "PREV LSN: 0/20", run(running, func(o *Options) { o.BranchPoint, o.PrevLSN = true, 0x20 })["neon.signal"])
	got = run(running, func(o *Options) { o.NoSLRUs = true })
	require.NotContains(t, got, "pg_xact/0000")
	require.NotContains(t, got, "pg_multixact/offsets/0000")

	// A stock server's checkpoint points to its own beginning.
	require.Contains(t, run(computeCluster(pg.V16, smallPrev), func(*Options) {}), "pg_stat/pgstat.stat")
	// What Neon wrote has no index of records.
	delete(running.values, page.RecordsKey(smallLSN))
	running.sorted = nil
	require.Contains(t, run(running, func(*Options) {}), "neon.signal")
}

func TestComputeFails(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(m *model)
		want  string
	}{
		"tablespace": {func(m *model) { m.putDatabase(16500, 5, nil) }, "tablespace 16500: a Neon compute"},
		"short slot": {func(m *model) { m.putFile(page.AuxKey("pg_replslot/s/state"), "pg_replslot/s/state", "a slot") }, `slot "pg_replslot/s/state" has 6 bytes`},
	} {
		m := computeCluster(pg.V16, 0)
		c.spoil(m)
		if name == "tablespace" {
			m.putRelation(inSpace, manyBlocks(inSpace, 1)...)
		}
		_, err := Write(t.Context(), &limited{left: 1 << 30}, m, Options{LSN: smallLSN, Version: pg.V16, Format: FormatCompute})
		require.ErrorContains(t, err, c.want, name)
	}
	_, err := Write(t.Context(), &limited{left: 1}, computeCluster(pg.V16, 0), Options{LSN: smallLSN, Version: pg.V16, Replica: true})
	require.ErrorContains(t, err, "Format is full")
	_, err = Write(t.Context(), &limited{left: 1}, computeCluster(pg.V16, 0), Options{LSN: smallLSN, Version: pg.V16, Format: 7})
	require.ErrorContains(t, err, "Format is 7")
}
