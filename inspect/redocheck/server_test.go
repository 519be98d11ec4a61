package redocheck_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/inspect/redocheck"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/mask"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
)

// workload makes records of Heap, Heap2, Btree and Sequence, each statement a transaction of its own.
var workload = []string{
	"create table t(id serial primary key, a int, b text)",
	"create index t_ab on t(a,b)",
	"create index t_a on t(a)",
	"insert into t(a,b) select g%97, md5(g::text)||repeat('x',g%50) from generate_series(1,4000) g",
	"update t set a=a+1 where id%7=0",
	"delete from t where id%5=0",
	"vacuum t",
	"insert into t(a,b) select g%97, md5(g::text) from generate_series(1,2000) g",
	"begin; select count(*) from (select * from t where id<300 for update) x; update t set b='y' where id<50; commit",
	"delete from t where id%3=0",
	"vacuum (freeze, index_cleanup on) t",
	"delete from t where id>2500",
	"vacuum t",
	// Deduplication, posting lists split and shortened, empty pages removed and used again.
	"create table d(k int, v text) with (fillfactor=60)",
	"create index d_k on d(k)",
	"insert into d select g%11, repeat('a',60) from generate_series(1,6000) g",
	"delete from d where (ctid::text::point)[1]::int % 3 = 0",
	"vacuum d",
	"insert into d select g%11, repeat('b',60) from generate_series(1,4000) g",
	"delete from d where k between 2 and 8",
	"vacuum d", "vacuum d",
	"insert into d select g, 'c' from generate_series(1000,4000) g",
	// High trees of few keys per page.
	`create table deep(k text collate "C")`,
	"create index deep_k on deep(k)",
	"insert into deep select lpad(g::text,900,md5(g::text)) from generate_series(1,1500) g",
	"delete from deep where k < (select max(k) from deep)",
	"vacuum deep", "vacuum deep",
	// HOT chains, pruning, versions of unique keys.
	"create table hot(id int primary key, n int, x int) with (fillfactor=50)",
	"create index hot_x on hot(x)",
	"insert into hot select g,0,g from generate_series(1,300) g",
	"do $$ begin for i in 1..25 loop update hot set n=n+1 where id<=20; update hot set x=x+1; commit; end loop; end $$",
	"insert into hot values(1,1) on conflict(id) do update set n=99",
	"insert into hot values(1000,1) on conflict do nothing",
	"set wal_compression = on", // pglz, for this session
	// Truncation by VACUUM after the map was set, and growth again.
	"create table tr(a int primary key)",
	"insert into tr select g from generate_series(1,4000) g",
	"vacuum tr",
	"delete from tr where a>100",
	"vacuum tr",
	"insert into tr select g from generate_series(101,4000) g",
	"vacuum tr",
	"truncate tr",
	"insert into tr values(1)",
	"set wal_compression = off",
	"create table big(id int primary key, d text)",
	"alter table big alter d set storage external",
	"insert into big select g, repeat(md5(g::text),2000) from generate_series(1,12) g",
	"update big set d=d||'tail' where id<4",
	"create sequence sq cache 5",
	"select count(nextval('sq')) from generate_series(1,400)",
	"select setval('sq',1000)",
	"begin; insert into hot values(2000,1,1); savepoint s; insert into hot values(2001,1,1); rollback to s; commit",
	"begin; insert into hot values(3000,1,1); prepare transaction 'p1'",
	"commit prepared 'p1'",
	"drop table big",
	"create table cp as select g a, 'copy'||g b from generate_series(1,3000) g",
	"vacuum full cp",
	"checkpoint",
	"update t set a=a+1",
	"vacuum",
}

// oracle is WAL with page copies and the cluster before it.
type oracle struct {
	version   pg.Version
	base, wal string
}

// clusterKinds spreads over the versions what changes the form of records and copies.
var clusterKinds = map[pg.Version]struct {
	noChecksums bool
	walLevel    string
}{
	pg.V14: {walLevel: "replica"},
	pg.V15: {walLevel: "logical"},
	pg.V16: {walLevel: "replica", noChecksums: true},
	pg.V17: {walLevel: "logical"},
}

func makeOracle(t *testing.T, v pg.Version) oracle {
	kind := clusterKinds[v]
	p := testkit.Server(t, v, testkit.Config{NoChecksums: kind.noChecksums, Settings: map[string]string{
		"wal_level":                 kind.walLevel,
		"wal_consistency_checking":  "all",
		"max_prepared_transactions": "5",
		"autovacuum":                "off",
		"wal_keep_size":             "8GB",
		"max_wal_size":              "8GB",
	}})
	base := filepath.Join(testkit.ServerDir(t), "base")
	testkit.CopyTree(t, base, p.Data)
	p.Start()
	s := p.Connect("postgres")
	s.Each(workload...)
	locker := p.Connect("postgres")
	s.Exec("begin")
	s.Exec("select * from hot where id between 50 and 60 for share")
	locker.Each("begin", "select * from hot where id between 50 and 60 for key share", "update hot set n=1 where id=61", "commit")
	s.Each("commit", "update hot set n=7 where id in (51,52)", "vacuum freeze hot")
	create := "create database copied"
	if v > pg.V14 {
		create += " strategy file_copy"
	}
	s.Each(create, "create database logged")
	for _, db := range []string{"copied", "logged"} {
		p.Exec(db, "create table z as select * from pg_class")
		p.Exec(db, "vacuum full pg_class")
	}
	s.Each("drop database copied")
	s.Close()
	locker.Close()
	p.Stop()
	return oracle{v, base, p.CopyWAL()}
}

func (o oracle) check(t *testing.T, change func(*redocheck.Options)) redocheck.Report {
	redoer := native.New()
	t.Cleanup(func() { require.NoError(t, redoer.Close()) })
	opts := redocheck.Options{WALDir: o.wal, Version: o.version, PGData: o.base, Redoer: redoer}
	if change != nil {
		change(&opts)
	}
	r, err := redocheck.Run(context.Background(), opts)
	require.NoError(t, err)
	require.Equal(t, r.Total.Blocks, r.Total.Equal+r.Total.Different+r.Total.Uncovered+r.Total.Primed)
	return r
}

func TestAgainstServer(t *testing.T) {
	for _, v := range []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17} {
		if (v%2 == 0 || testkit.UnderRace && v != pg.V15) && !testkit.Long() {
			continue // 14 and 16 take the same ways as 15 and 17; the long form runs them all
		}
		t.Run(fmt.Sprint(int(v)), func(t *testing.T) {
			o := makeOracle(t, v)
			t.Run("every block equal", o.testEqual)
			if testkit.UnderRace && !testkit.Long() {
				return // what follows compares bytes; the pool of processes has tests of its own
			}
			t.Run("page unchanged differs", o.testUnchanged)
			if v == pg.V15 {
				t.Run("in processes", o.testPool)
			}
			t.Run("as a server lays pages out", func(t *testing.T) { o.testLayout(t, testkit.Size(50, 1, 1)) })
			if v != pg.V15 && !testkit.Long() {
				return // what follows looks at the check itself, which is the same for all versions
			}
			t.Run("one record left out differs", o.testSkipped)
			t.Run("refused types are uncovered", o.testUncovered)
			t.Run("start in mid-WAL primes", o.testPrimed)
			t.Run("few pages in memory", o.testSpill)
			t.Run("canceled", o.testCanceled)
		})
	}
}

// logTable says what was found of each resource manager, and in all.
func logTable(t *testing.T, r redocheck.Report) {
	row := func(name string, c redocheck.Counts) {
		t.Logf("%-11s records=%-6d blocks=%-6d equal=%-6d different=%d uncovered=%d primed=%d",
			name, c.Records, c.Blocks, c.Equal, c.Different, c.Uncovered, c.Primed)
	}
	for _, m := range r.Rmgrs {
		row(m.Rmgr.String(), m.Counts)
	}
	row("all", r.Total)
}

// All blocks are equal; the redoer is given no copy that is for the check alone; and each record shows by
// itself: as errors may hide behind earlier ones, its effect on the right page must be seen through the mask.
func (o oracle) testEqual(t *testing.T) {
	var e effects
	r := o.check(t, func(opts *redocheck.Options) {
		redoer := opts.Redoer
		opts.Redoer = &wrapped{redoer, func(req *walredo.Request) ([]byte, error) { return e.redo(t, redoer, req) }}
	})
	logTable(t, r)
	share := float64(e.shown) / float64(e.redone)
	t.Logf("%d of %d blocks differ from the page before the record (%.1f %%)", e.shown, e.redone, 100*share)
	require.Greater(t, share, 0.9)
	require.Empty(t, r.First)
	require.Zero(t, r.Total.Different)
	require.Zero(t, r.Total.Uncovered)
	require.Zero(t, r.Total.Primed)
	for _, m := range []pg.Rmgr{pg.RmXLOG, pg.RmHeap, pg.RmHeap2, pg.RmBtree, pg.RmSeq} {
		require.NotZero(t, r.Rmgr(m).Equal, m)
	}
	var missing []string
	for _, op := range r.Ops {
		switch op.Rmgr {
		case pg.RmHeap, pg.RmHeap2, pg.RmBtree, pg.RmSeq:
			if op.Records == 0 {
				missing = append(missing, op.Rmgr.String()+" "+op.Name)
			}
			t.Logf("%-9s %-22s records=%d blocks=%d", op.Rmgr, op.Name, op.Records, op.Blocks)
		}
	}
	t.Logf("did not occur here: %s", strings.Join(missing, ", "))
}

// effects counts the blocks that records change visibly. Heap2 VISIBLE changes hints alone on the heap's page.
type effects struct{ redone, shown int }

func (e *effects) redo(t *testing.T, redoer walredo.Redoer, req *walredo.Request) ([]byte, error) {
	rec, ok := decode(t, req)
	if !ok {
		return nil, nil
	}
	for _, b := range rec.Blocks {
		require.Equal(t, b.HasImage, b.Apply, "a copy for the check alone is still in the record")
	}
	if rec.Rmgr == pg.RmHeap2 && wal.OpName(req.Version, rec.Rmgr, rec.Info) == "VISIBLE" {
		return nil, nil
	}
	out, err := redoer.Redo(context.Background(), nil, req)
	require.NoError(t, err)
	before := req.Base
	if before == nil {
		before = make([]byte, pg.BlockSize)
	}
	rel, block, _ := req.Key.RelBlock()
	e.redone++
	if mask.Difference(out, before, mask.KindOf(out, rel.Fork), block) >= 0 {
		e.shown++
	}
	return out, nil
}

// unchanged stands for a redo that does nothing.
type unchanged struct{}

func (unchanged) Redo(_ context.Context, dst []byte, req *walredo.Request) ([]byte, error) {
	if req.Base == nil {
		return append(dst, make([]byte, pg.BlockSize)...), nil
	}
	return append(dst, req.Base...), nil
}

func (unchanged) Close() error { return nil }

func (o oracle) testUnchanged(t *testing.T) {
	r := o.check(t, func(o *redocheck.Options) { o.Redoer = unchanged{} })
	var blocks, different int64
	for _, op := range r.Ops {
		if op.Rmgr != pg.RmHeap2 || op.Name != "VISIBLE" {
			blocks += op.Blocks
			different += op.Different
		}
	}
	share := float64(different) / float64(blocks)
	t.Logf("with redo that does nothing, %d of %d blocks differ (%.1f %%)", different, blocks, 100*share)
	require.Greater(t, share, 0.9)
}

// wrapped changes what another Redoer does.
type wrapped struct {
	walredo.Redoer
	redo func(req *walredo.Request) ([]byte, error) // nil, nil: leave it to the Redoer
}

func (w *wrapped) Redo(ctx context.Context, dst []byte, req *walredo.Request) ([]byte, error) {
	if out, err := w.redo(req); out != nil || err != nil {
		return append(dst, out...), err
	}
	return w.Redoer.Redo(ctx, dst, req)
}

func decode(t *testing.T, req *walredo.Request) (rec wal.Record, ok bool) {
	require.Len(t, req.Records, 1)
	v := req.Records[0].Value
	if v.Kind != page.KindPostgres {
		return rec, false
	}
	require.True(t, wal.CheckCRC(v.Bytes))
	require.NoError(t, rec.Decode(req.Version, v.Bytes))
	return rec, true
}

// One record lost must show, also in the records after it: our page is never replaced by the server's.
func (o oracle) testSkipped(t *testing.T) {
	skipped := page.Key{}
	r := o.check(t, func(opts *redocheck.Options) {
		opts.Redoer = &wrapped{opts.Redoer, func(req *walredo.Request) ([]byte, error) {
			rec, ok := decode(t, req)
			insert := ok && rec.Rmgr == pg.RmBtree && rec.Op() == 0 && req.Base != nil
			if !insert || skipped != (page.Key{}) {
				return nil, nil
			}
			skipped = req.Key
			return req.Base, nil
		}}
	})
	require.NotZero(t, r.Total.Different)
	rel, block, ok := skipped.RelBlock()
	require.True(t, ok)
	require.Equal(t, rel, r.First[0].Rel)
	require.Equal(t, block, r.First[0].Block)
	require.Equal(t, "INSERT_LEAF", r.First[0].Op)
	require.Contains(t, r.First[0].String(), "Btree INSERT_LEAF record ending at "+r.First[0].LSN.String())
}

func (o oracle) testUncovered(t *testing.T) {
	r := o.check(t, func(opts *redocheck.Options) {
		opts.Redoer = &wrapped{opts.Redoer, func(req *walredo.Request) ([]byte, error) {
			rec, ok := decode(t, req)
			if ok && rec.Rmgr == pg.RmBtree && rec.Op() == 0 {
				return nil, fmt.Errorf("%w: in this test", walredo.ErrUnsupported)
			}
			return nil, nil
		}}
	})
	require.Zero(t, r.Total.Different)
	for _, op := range r.Ops {
		if op.Rmgr == pg.RmBtree && op.Name == "INSERT_LEAF" {
			require.NotZero(t, op.Uncovered)
			require.Equal(t, op.Blocks, op.Uncovered)
		} else {
			require.Zero(t, op.Uncovered, op.Name)
		}
	}
}

func (o oracle) testPrimed(t *testing.T) {
	dir := filepath.Join(filepath.Dir(o.wal), "later")
	require.NoError(t, os.Mkdir(dir, 0o700))
	entries, err := os.ReadDir(o.wal)
	require.NoError(t, err)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	require.Greater(t, len(names), 3)
	for _, n := range names[2:] {
		require.NoError(t, os.Link(filepath.Join(o.wal, n), filepath.Join(dir, n)))
	}
	r := o.check(t, func(opts *redocheck.Options) { opts.WALDir, opts.PGData = dir, "" })
	require.Empty(t, r.First)
	require.NotZero(t, r.Total.Primed)
	require.NotZero(t, r.Total.Equal)
}

func (o oracle) testSpill(t *testing.T) {
	r := o.check(t, func(opts *redocheck.Options) { opts.MaxPages = 16 })
	require.Empty(t, r.First)
	require.Zero(t, r.Total.Primed+r.Total.Different)
}

func (o oracle) testCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r, err := redocheck.Run(ctx, redocheck.Options{
		WALDir: o.wal, Version: o.version, PGData: o.base, Redoer: native.New(),
		Progress: func(at, _ page.LSN) {
			if at > 0 {
				cancel()
			}
		},
	})
	require.True(t, errors.Is(err, context.Canceled), "%v", err)
	require.GreaterOrEqual(t, r.End, r.Start)
}
