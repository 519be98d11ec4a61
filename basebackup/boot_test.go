package basebackup_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/ingest"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// bootVersions are the servers that boot: one is enough to let the race detector look on. All boot in the long form.
func bootVersions() []pg.Version {
	versions := []pg.Version{pg.V17, pg.V15, pg.V14, pg.V16}
	return versions[:testkit.Size(1, 2, len(versions))]
}

// TestBoots proves a backup against PostgreSQL's own recovery. A cluster with data checksums is stopped and
// imported; the WAL of a workload with open and prepared transactions is ingested on top; then backups are
// made at the end and at random ends of records in mid-run. A stock server starts from each, reads every
// block with checksums on, holds the same rows as a server that PostgreSQL has recovered to that LSN, and
// can be used.
func TestBoots(t *testing.T) {
	points := testkit.Size(1, 3, 20)
	for _, v := range bootVersions() {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			src := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"wal_keep_size": "1GB"}})
			src.Start()
			prepareCluster(src)
			src.Stop()
			base := filepath.Join(testkit.ServerDir(t), "base")
			testkit.CopyTree(t, base, src.Data)
			store := importDir(t, v, base)
			src.Start()
			middle := runWorkload(t, src)
			src.Stop()
			wal := src.CopyWAL()
			store.ingest(t, wal)

			rng := testkit.Rand(t, uint64(v))
			ends := store.recordEnds(middle)
			lsns := []page.LSN{store.LastRecordLSN(), middle}
			for range points {
				lsns = append(lsns, ends[rng.IntN(len(ends))])
			}
			for _, lsn := range lsns {
				t.Run(strings.ReplaceAll(lsn.String(), "/", "_"), func(t *testing.T) {
					bootAt(t, store, testkit.Recovery{Version: v, Base: base, WAL: wal, Until: lsn})
				})
			}
		})
	}
}

// bootAt compares a server on a backup with one that recovered by itself.
func bootAt(t *testing.T, store *memStore, r testkit.Recovery) {
	back := untarBackup(t, store, r.Until)
	checkChecksums(t, back)
	sameAgain(t, store, r.Until, importDir(t, r.Version, back.Data))
	if r.Until == store.LastRecordLSN() {
		r.Until = page.InvalidLSN // no record follows that would end the recovery
	}
	want := r.Promoted(t)
	wantSums, wantPrepared := sums(want), want.Query("postgres", "select gid from pg_prepared_xacts order by 1")
	want.Stop()

	back.Start()
	require.NotContains(t, back.Log(), "recovery", "the server found something to recover")
	require.Equal(t, wantSums, sums(back))
	require.Equal(t, wantPrepared, back.Query("postgres", "select gid from pg_prepared_xacts order by 1"))
	checkIndexes(back, "bt_index_check")
	for _, p := range wantPrepared {
		back.Exec("postgres", "commit prepared '"+p[0]+"'")
	}
	s := back.Connect("postgres")
	s.Each("insert into accounts select g, 0, repeat('n', 50) from generate_series(1000000, 1003000) g", "update accounts set b = b + 1 where id % 5 = 0",
		"create table if not exists fresh(a int primary key)", "insert into fresh select generate_series(1, 2000) on conflict do nothing",
		"vacuum (freeze) accounts", "checkpoint")
	s.Close()
	after := sums(back)
	back.Stop()
	back.Start()
	require.Equal(t, after, sums(back))
	checkIndexes(back, "bt_index_parent_check")
	back.Stop()
	checkChecksums(t, back)
	importDir(t, r.Version, back.Data) // what came of the backup is a cluster as any other
}

// sameAgain compares the blocks that a backup's own import gives with those it was made from.
func sameAgain(t *testing.T, store *memStore, lsn page.LSN, again *memStore) {
	compared := 0
	for _, k := range again.keys() {
		rel, blk, isRel := k.RelBlock()
		slru, _, _, isSLRU := k.SLRUBlock()
		if !isRel && !isSLRU || slru == page.MultixactOffsets && isSLRU {
			continue // offsets are completed from the multixacts before them
		}
		got, err := again.Get(t.Context(), k, again.last)
		require.NoError(t, err)
		from := k
		if _, err := store.Get(t.Context(), rel.WithFork(page.ForkInit).SizeKey(), lsn); isRel && err == nil {
			from = rel.WithFork(page.ForkInit).Block(blk)
		}
		want, err := store.Get(t.Context(), from, lsn)
		require.NoError(t, err, from.Describe())
		want = want[:pg.BlockSize]
		if isRel {
			bufpage.Page(want).SetChecksum(blk)
		}
		require.True(t, bytes.Equal(want, got), k.Describe())
		compared++
	}
	require.Greater(t, compared, 1000)
}

func prepareCluster(p *testkit.Postgres) {
	s := p.Connect("postgres")
	defer s.Close()
	s.Each("create extension amcheck", "create table accounts(id int primary key, b int, filler text)",
		"insert into accounts select g, 0, repeat('x', 80) from generate_series(1, 5000) g",
		"create table held(id int primary key, b int)", "insert into held select g, 0 from generate_series(1, 1000) g",
		"create index accounts_b on accounts(b)", "create unlogged table scratch(a int primary key)",
		"insert into scratch select generate_series(1, 100)", "create sequence counter",
		"create table toasted(id int primary key, d text)", "create table part(a int, b text) partition by range(a)",
		"create table part1 partition of part for values from (0) to (100)")
}

// runWorkload makes WAL with transactions open and some prepared, also at its end. It gives an LSN in mid-run,
// from which on that is so. The rows that they hold are in a table that nothing else writes to.
func runWorkload(t *testing.T, p *testkit.Postgres) page.LSN {
	s, open, other := p.Connect("postgres"), p.Connect("postgres"), p.Connect("postgres")
	open.Exec("begin; insert into accounts select g, 7, 'open' from generate_series(200000, 200400) g; update held set b = -1 where id < 500")
	s.Each("begin; insert into accounts values (300000, 1, 'prepared'); update held set b = 99 where id = 777; prepare transaction 'p1'")
	churn(s, 1)
	locks(s, other, 4000)
	s.Each("create database other", "begin; insert into accounts values (300001, 1, 'p2'); prepare transaction 'p2'", "commit prepared 'p2'")
	p.Exec("other", "create table o(a int primary key); insert into o select generate_series(1, 3000); delete from o where a % 3 = 0")
	p.Exec("other", "vacuum o")
	middle := p.LSN()
	other.Exec("begin; savepoint a; insert into accounts values (400000, 1, 'sub'); savepoint b; insert into accounts values (400001, 1, 'sub'); rollback to b; insert into accounts values (400002, 1, 'sub')")
	churn(s, 2)
	other.Exec("commit")
	locks(s, other, 4100)
	s.Each("checkpoint", "truncate part", "drop table toasted", "create table late(a int, b text)", "insert into late select g, md5(g::text) from generate_series(1, 3000) g",
		"create index on late(b)", "delete from late where a < 1000", "vacuum late", "begin; insert into accounts values (300002, 1, 'p3'); prepare transaction 'p3'",
		"select txid_current()")
	churn(s, 3)
	return middle
}

// churn is a bit of everything that heap, btree and sequences log.
func churn(s *testkit.Session, round int) {
	for i := range 30 {
		s.Exec(fmt.Sprintf("update accounts set b = b + %d where id %% 30 = %d", round, i))
		s.Exec(fmt.Sprintf("insert into accounts select g, %d, repeat('y', g %% 70) from generate_series(%d, %d) g", i, round*10000+i*100, round*10000+i*100+99))
		s.Exec("select nextval('counter')")
	}
	s.Each(fmt.Sprintf("delete from accounts where id %% 11 = %d", round), "vacuum accounts",
		fmt.Sprintf("insert into part select g %% 100, 'r%d' from generate_series(1, 500) g", round),
		"begin; insert into accounts values (-1, 0, ''); rollback", "insert into scratch values (1000 + "+fmt.Sprint(round)+")",
		"create table if not exists toasted(id int primary key, d text)",
		fmt.Sprintf("insert into toasted select g + %d, repeat(md5(g::text), 500) from generate_series(1, 20) g", round*100))
}

// locks makes multixacts: rows locked and updated by two sessions at once.
func locks(a, b *testkit.Session, from int) {
	for i := range 6 {
		a.Exec(fmt.Sprintf("begin; select * from accounts where id = %d for key share", from+i))
		b.Exec(fmt.Sprintf("begin; update accounts set b = b + 1 where id = %d", from+i))
		a.Exec("commit")
		b.Exec("commit")
	}
}

// sums gives, for every database, rows and a sum over all columns of every user table, and the number of
// rows of every catalog.
func sums(p *testkit.Postgres) map[string]string {
	return sumsOf(p, "relkind in ('r', 'm', 'S', 't') and relpersistence <> 't'")
}

// sumsOf is sums of some relations.
func sumsOf(p *testkit.Postgres, which string) map[string]string {
	out := make(map[string]string)
	for _, db := range p.Query("postgres", "select datname from pg_database where datallowconn order by 1") {
		s := p.Connect(db[0])
		for _, r := range s.Query("select c.oid::regclass, c.oid < 16384 from pg_class c where " + which + " order by 1") {
			what := "count(*) || ' ' || coalesce(sum(hashtext(x::text)::bigint), 0)"
			if r[1] == "t" {
				what = "count(*)"
			}
			out[db[0]+"."+r[0]] = s.Value("select " + what + " from (select * from " + r[0] + ") x")
		}
		s.Close()
	}
	return out
}

// checkIndexes runs amcheck on every btree; bt_index_parent_check sees more, but waits for those who write.
func checkIndexes(p *testkit.Postgres, check string) {
	s := p.Connect("postgres")
	defer s.Close()
	s.Exec("set lock_timeout = '30s'")
	for _, r := range s.Query("select c.oid::regclass from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam where a.amname = 'btree' and c.relpersistence <> 't'") {
		s.Exec(fmt.Sprintf("select %s('%s', true)", check, r[0]))
	}
}

func checkChecksums(t *testing.T, p *testkit.Postgres) {
	if p.HasTool("pg_checksums") {
		p.Run(p.Tool(t, "pg_checksums"), "--check", "-D", p.Data)
	}
}

// importDir makes a store of a cleanly stopped cluster.
func importDir(t *testing.T, v pg.Version, dir string) *memStore {
	d, err := ingest.OpenDataDir(dir)
	require.NoError(t, err)
	require.Equal(t, v, d.Version)
	s := newMemStore(v, d.Checksums)
	s.last, s.prev = d.LSN, d.PrevLSN
	_, err = d.Import(t.Context(), importSink{s, d.LSN}, nil)
	require.NoError(t, err)
	return s
}

// importSink puts an import's images at their LSN.
type importSink struct {
	s   *memStore
	lsn page.LSN
}

func (i importSink) PutImage(_ context.Context, k page.Key, image []byte) error {
	var b page.Batch
	b.PutImage(k, i.lsn, image)
	i.s.add(&b)
	return nil
}

func (s *memStore) ingest(t *testing.T, wal string) {
	i, err := ingest.NewIngester(t.Context(), s, ingest.Options{Version: s.version})
	require.NoError(t, err)
	_, err = i.Dir(t.Context(), wal, page.InvalidLSN, nil)
	require.NoError(t, err)
}

// recordEnds lists the ends of all records from lsn on.
func (s *memStore) recordEnds(from page.LSN) (ends []page.LSN) {
	snap := datadir.At(s, s.last, s.version)
	for at := s.last; at > from; {
		r, _, err := snap.RecordBefore(context.Background(), at)
		if err != nil {
			panic(err)
		}
		ends = append(ends, r.End)
		at = r.Start
	}
	slices.Reverse(ends)
	return ends
}
