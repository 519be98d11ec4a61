package basebackup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// TestServerStarts makes a backup of a cluster that a server left cleanly, and has the server start from it.
func TestServerStarts(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, v := range []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17} {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			src := clusterWithEverything(t, v)
			sums := tableSums(src)
			src.Stop()
			m, lsn := loadDir(t, v, src.Data)
			for _, rounded := range []page.LSN{lsn, lsn + 4096 + 8} {
				back := restore(t, v, m, rounded)
				if back.HasTool("pg_checksums") {
					back.Run(back.Tool(t, "pg_checksums"), "--check", "-D", back.Data)
				}
				back.Start()
				require.Equal(t, sums, tableSums(back))
				useCluster(t, back)
				sums := tableSums(back)
				back.Stop()
				back.Start()
				require.Equal(t, sums, tableSums(back))
				back.Exec("postgres", "insert into in_ts select generate_series(10001, 11000)")
				sums = tableSums(back)
				back.StopImmediately()
				back.Start()
				require.Equal(t, sums, tableSums(back), "after a crash")
				back.Stop()
				if back.HasTool("pg_checksums") {
					back.Run(back.Tool(t, "pg_checksums"), "--check", "-D", back.Data)
				}
			}
		})
	}
}

// TestServerStartsAnywhere puts the end of WAL where the checkpoint record crosses the end of a page or of a
// segment, or just does not.
func TestServerStartsAnywhere(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, v := range []pg.Version{pg.V15, pg.V17} {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			src := testkit.Server(t, v, testkit.Config{WALSegSizeMB: 1})
			src.Start()
			src.Exec("postgres", "create table t(a int primary key); insert into t select generate_series(1, 1000)")
			src.Stop()
			m, lsn := loadDir(t, v, src.Data)
			const seg = page.LSN(1 << 20)
			pageEnd, segEnd := (lsn/seg+2)*seg+3*pg.BlockSize, (lsn/seg+2)*seg
			for _, end := range []page.LSN{pageEnd, segEnd} {
				for _, before := range []page.LSN{0, 8, 24, 40, 112, 120} {
					at := end - before
					m.putRecord(at-64, at)
					p := restore(t, v, m, at)
					if p.HasTool("pg_waldump") {
						out := p.Run(p.Tool(t, "pg_waldump"), "-p", filepath.Join(p.Data, "pg_wal"), "-s", at.String(), "-n", "1")
						require.Contains(t, out, fmt.Sprintf("prev %X/%08X, desc: CHECKPOINT_SHUTDOWN", uint32((at-64)>>32), uint32(at-64)))
					}
					p.Start()
					require.Equal(t, "1000", p.Value("postgres", "select count(*) from t"), "%s", at)
					p.Exec("postgres", "insert into t select generate_series(2001, 30000)")
					p.StopImmediately()
					p.Start()
					require.Equal(t, "29000", p.Value("postgres", "select count(*) from t"), "%s", at)
					p.Stop()
				}
			}
		})
	}
}

// clusterWithEverything makes a running server whose cluster has at least one of every kind of file.
func clusterWithEverything(t *testing.T, v pg.Version) *testkit.Postgres {
	p := testkit.Server(t, v, testkit.Config{WALSegSizeMB: 1})
	p.Start()
	s := p.Connect("postgres")
	s.Each(
		"create extension amcheck",
		"create table t(id int primary key, b text)",
		"insert into t select g, repeat(md5(g::text), 20) from generate_series(1, 3000) g",
		"create index on t(b)",
		"create unlogged table u(id int primary key, b text)",
		"insert into u select g, 'gone' from generate_series(1, 100) g",
		"create table empty(a int)",
		"create sequence s; select nextval('s')",
		"vacuum t",
		"begin; insert into t values (100001, 'prepared'); prepare transaction 'p1'",
		"begin; insert into t values (100002, 'rolled back'); prepare transaction 'p2'",
		"select pg_replication_origin_create('o1')",
		"select pg_replication_origin_advance('o1', '0/AABBCC')",
		"create database db1",
	)
	dir := filepath.Join(p.Dir, "ts")
	require.NoError(t, os.Mkdir(dir, 0o700))
	testkit.Give(t, dir)
	s.Exec("create tablespace ts location '" + dir + "'")
	s.Each("create table in_ts(a int primary key) tablespace ts", "insert into in_ts select generate_series(1, 1000)",
		"create database db2 tablespace ts")
	p.Exec("db2", "create table t2(a int); insert into t2 select generate_series(1, 500)")
	require.NoError(t, os.Mkdir(filepath.Join(p.Dir, "ts2"), 0o700))
	testkit.Give(t, filepath.Join(p.Dir, "ts2"))
	s.Exec("create tablespace ts2 location '" + filepath.Join(p.Dir, "ts2") + "'")
	multixacts(t, p)
	return p
}

// multixacts locks rows from two sessions.
func multixacts(t *testing.T, p *testkit.Postgres) {
	a, b := p.Connect("postgres"), p.Connect("postgres")
	for i := range 5 {
		q := fmt.Sprintf("begin; select * from t where id = %d for key share", i+1)
		a.Exec(q)
		b.Exec(q)
		a.Exec("commit")
		b.Exec("commit")
	}
}

// restore writes a backup, unpacks it and gives its server, not started.
func restore(t *testing.T, v pg.Version, m *model, lsn page.LSN) *testkit.Postgres {
	var buf bytes.Buffer
	r, err := Write(t.Context(), &buf, m, Options{LSN: lsn, Version: v})
	require.NoError(t, err)
	require.EqualValues(t, buf.Len(), r.Bytes)
	dir := filepath.Join(testkit.ServerDir(t), "data")
	testkit.Untar(t, dir, &buf)
	return testkit.Adopt(t, v, dir, nil)
}

// tableSums gives, of every user table of every database, the number of rows and a sum over all columns.
func tableSums(p *testkit.Postgres) map[string]string {
	sums := make(map[string]string)
	for _, db := range []string{"postgres", "db1", "db2"} {
		s := p.Connect(db)
		for _, r := range s.Query("select oid::regclass from pg_class where relkind in ('r', 'm', 'S') order by 1") {
			sums[db+"."+r[0]] = s.Value(fmt.Sprintf("select count(*) || ' ' || coalesce(sum(hashtext(x::text)::bigint), 0) from (select * from %s) x", r[0]))
		}
		s.Close()
	}
	// The unlogged table is empty after the restore, and that is right.
	delete(sums, "postgres.u")
	return sums
}

// useCluster does with a restored cluster what its users would.
func useCluster(t *testing.T, p *testkit.Postgres) {
	s := p.Connect("postgres")
	defer s.Close()
	require.Equal(t, "0", s.Value("select count(*) from u"))
	s.Each("insert into u values (1, 'new')", "commit prepared 'p1'", "rollback prepared 'p2'")
	require.Equal(t, "prepared", s.Value("select b from t where id = 100001"))
	require.Equal(t, "0", s.Value("select count(*) from t where id = 100002"))
	require.Equal(t, "0/AABBCC", s.Value("select pg_replication_origin_progress('o1', true)"))
	for _, r := range s.Query("select c.oid::regclass from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam where a.amname = 'btree' and c.relpersistence <> 't'") {
		s.Exec(fmt.Sprintf("select bt_index_check('%s', true)", r[0]))
	}
	s.Each("insert into t select g, 'after' from generate_series(200001, 205000) g", "update t set b = b || '!' where id % 7 = 0",
		"insert into in_ts select generate_series(2001, 3000)", "create table in_ts2(a int) tablespace ts", "drop table in_ts2",
		"vacuum (freeze) t", "checkpoint", "select nextval('s')")
	p.Exec("db2", "insert into t2 select generate_series(1, 500)")
	p.Exec("postgres", "create database db3 tablespace ts")
	p.Exec("postgres", "drop database db3")
	p.Exec("postgres", "drop tablespace ts2")
	multixacts(t, p)
}
