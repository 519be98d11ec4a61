package ingest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
)

// liveVersions are the versions whose servers are compared; those that are not here skip by name.
var liveVersions = []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17}

// turn gives the versions that are compared in the ordinary form, in which each has its turn in one test or another; the long form
// compares all.
func turn(versions ...pg.Version) []pg.Version {
	if testkit.Long() {
		return liveVersions
	}
	return versions
}

// A real server works; at its clean stop, sizes, map pages, SLRUs, relation maps, prepared transactions and
// all of pg_control's checkpoint are the same in our store.
func TestServersMetadata(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, v := range turn(pg.V14, pg.V17) {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			ctx := context.Background()
			p := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"wal_level": "logical", "wal_keep_size": "8GB"}})
			s, _, _ := importDir(t, p.Data, pg.Stock)
			p.Start()
			p.Workload(testkit.Work{NoTablespace: true, Transactions: 100, LeaveOpen: true})
			databases(p, v)
			p.Stop()
			i := newIngester(t, s, Options{})
			res, err := i.Dir(ctx, p.CopyWAL(), 0, nil)
			require.NoError(t, err)
			t.Logf("%+v %+v", res, i.Stats())
			requireCheckPoint(t, s, p.Data)
			c := compareDirs(t, s, p.Data)
			t.Logf("%+v", c)
			require.Empty(t, c.different)
			xids, err := datadir.At(s, s.Last, v).TwoPhase(ctx)
			require.NoError(t, err)
			require.NotEmpty(t, xids)
		})
	}
}

// databases makes databases in both ways and drops some.
func databases(p *testkit.Postgres, v pg.Version) {
	strategy := func(s string) string {
		if v < pg.V15 {
			return ""
		}
		return " strategy " + s
	}
	p.Exec("postgres", "create database source")
	p.Exec("source", "create table t(a int primary key, b text); insert into t select g, 'x' from generate_series(1, 3000) g")
	p.Exec("source", "vacuum t")
	p.Exec("source", "delete from t where a < 100; create unlogged table u(a int); insert into u values (1)")
	p.Exec("postgres", "create database copied template source"+strategy("file_copy"))
	p.Exec("postgres", "create database logged template source"+strategy("wal_log"))
	p.Exec("copied", "insert into t values (1, 'y'); drop table u")
	p.Exec("logged", "insert into t values (1, 'y')")
	p.Exec("logged", "vacuum full pg_class")
	p.Exec("postgres", "create database gone template source"+strategy("file_copy"))
	p.Exec("postgres", "drop database gone")
}

// requireCheckPoint compares the stored checkpoint and settings to those of a stopped server.
func requireCheckPoint(t *testing.T, s datadir.Store, data string) {
	t.Helper()
	f, err := control.Read(filepath.Join(data, "global", "pg_control"))
	require.NoError(t, err)
	snap := datadir.At(s, s.LastRecordLSN(), f.Version())
	b, err := snap.CheckPoint(context.Background())
	require.NoError(t, err)
	want := f.CheckPoint()
	require.Equal(t, want[:], b, "checkpoint")
	b, err = snap.ControlFile(context.Background())
	require.NoError(t, err)
	ours, err := control.Parse(b)
	require.NoError(t, err)
	require.Equal(t, f.Settings(), ours.Settings())
}

// Without a shutdown checkpoint, the counters come from the records alone: they are those that a server has
// after recovering the same WAL.
func TestCountersAfterCrash(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, v := range turn(pg.V15, pg.V16) {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			ctx := context.Background()
			p := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"wal_keep_size": "8GB", "track_commit_timestamp": "on"}})
			s, _, _ := importDir(t, p.Data, pg.Stock)
			p.Start()
			p.Workload(testkit.Work{NoTablespace: true, Transactions: 50, LeaveOpen: true})
			p.StopImmediately()
			_, err := newIngester(t, s, Options{}).Dir(ctx, p.CopyWAL(), 0, nil)
			require.NoError(t, err)
			b, err := datadir.At(s, s.Last, v).CheckPoint(ctx)
			require.NoError(t, err)
			ours, err := control.ParseCheckPoint(b)
			require.NoError(t, err)

			p.Start() // recovers, ending with a checkpoint of its own
			f, err := control.Read(filepath.Join(p.Data, "global", "pg_control"))
			require.NoError(t, err)
			theirs := f.CheckPoint()
			require.Equal(t, theirs.NextXid(), ours.NextXid())
			require.Equal(t, theirs.NextOid(), ours.NextOid())
			require.Equal(t, theirs.NextMulti(), ours.NextMulti())
			require.Equal(t, theirs.NextMultiOffset(), ours.NextMultiOffset())
			require.Equal(t, theirs.OldestXid(), ours.OldestXid())
			require.Equal(t, theirs.OldestXidDB(), ours.OldestXidDB())
			require.Equal(t, theirs.OldestMulti(), ours.OldestMulti())
			require.Equal(t, theirs.OldestMultiDB(), ours.OldestMultiDB())
			require.Equal(t, theirs.OldestCommitTsXid(), ours.OldestCommitTsXid())
			require.Equal(t, theirs.NewestCommitTsXid(), ours.NewestCommitTsXid())
			require.NotZero(t, ours.NewestCommitTsXid())
			require.Equal(t, theirs.Timeline(), ours.Timeline())
			require.Equal(t, theirs.FullPageWrites(), ours.FullPageWrites())
		})
	}
}

// Tablespaces that WAL creates keep their OID in the keys and their path as a file; databases move between
// them.
func TestTablespaces(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	ctx := context.Background()
	p := testkit.Server(t, pg.V15, testkit.Config{})
	s, _, _ := importDir(t, p.Data, pg.Stock)
	p.Start()
	where := filepath.Join(p.Dir, "space")
	require.NoError(t, os.Mkdir(where, 0o700))
	testkit.Give(t, where)
	other := filepath.Join(p.Dir, "other")
	require.NoError(t, os.Mkdir(other, 0o700))
	testkit.Give(t, other)
	p.Exec("postgres", "create tablespace space location '"+where+"'")
	p.Exec("postgres", "create tablespace other location '"+other+"'")
	p.Exec("postgres", "create table there(a int) tablespace space; insert into there select generate_series(1, 1000)")
	p.Exec("postgres", "create database moved")
	p.Exec("moved", "create table m(a int); insert into m select generate_series(1, 1000)")
	p.Exec("postgres", "alter database moved set tablespace space")
	p.Exec("postgres", "drop tablespace other")
	oid := p.Value("postgres", "select oid from pg_tablespace where spcname = 'space'")
	moved := p.Value("postgres", "select oid from pg_database where datname = 'moved'")
	p.Stop()
	_, err := newIngester(t, s, Options{}).Dir(ctx, p.CopyWAL(), 0, nil)
	require.NoError(t, err)
	requireCheckPoint(t, s, p.Data)
	snap := datadir.At(s, s.Last, pg.V15)
	spaces, err := snap.Tablespaces(ctx)
	require.NoError(t, err)
	require.Len(t, spaces, 1)
	require.Equal(t, oid, fmt.Sprint(spaces[0].OID))
	require.Equal(t, where, spaces[0].Path)
	dbs, err := snap.Databases(ctx)
	require.NoError(t, err)
	var found int
	for _, db := range dbs {
		if fmt.Sprint(db.DB) != moved {
			continue
		}
		found++
		require.Equal(t, spaces[0].OID, db.Spc)
		require.True(t, db.HasRelMap)
		rels, err := snap.Relations(ctx, db.Spc, db.DB)
		require.NoError(t, err)
		require.Greater(t, len(rels), 200)
		sizes, err := snap.RelSizes(ctx, rels)
		require.NoError(t, err)
		for n, rel := range rels { // every page of the moved database can be read
			for b := range sizes[n] {
				_, err := s.Get(ctx, rel.Block(b), s.Last)
				require.NoError(t, err, rel)
			}
		}
	}
	require.Equal(t, 1, found)

	// An import of the stopped cluster has the same tablespaces and, in them, the same relations.
	again, d, _ := importDir(t, p.Data, pg.Stock)
	require.Equal(t, spaces, d.spaces)
	ours := datadir.At(again, again.Last, pg.V15)
	theirs, err := ours.Tablespaces(ctx)
	require.NoError(t, err)
	require.Equal(t, spaces, theirs)
	for _, db := range dbs {
		want, err := snap.Relations(ctx, db.Spc, db.DB)
		require.NoError(t, err)
		got, err := ours.Relations(ctx, db.Spc, db.DB)
		require.NoError(t, err)
		maps := func(r page.RelTag) bool { return r.Fork == page.ForkFSM } // WAL does not make them
		require.Equal(t, slices.DeleteFunc(want, maps), slices.DeleteFunc(got, maps), db)
	}
	require.NoError(t, os.RemoveAll(filepath.Join(where, filepath.Base(d.spaceDir(spaces[0].OID)))))
	_, err = OpenDataDir(p.Data)
	require.ErrorIs(t, err, ErrDataDir)
	require.ErrorContains(t, err, "pg_tblspc/"+oid)
	require.ErrorContains(t, err, where)
}
