package e2e

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// indexes are indexes of some kinds: the work of a server with them, questions that they answer, and what a server of a backup goes
// on to do with them.
type indexes struct {
	work      func(p *testkit.Postgres)
	questions []string
	goOn      func(p *testkit.Postgres)
}

var treeIndexes = indexes{
	work: func(p *testkit.Postgres) {
		p.HashWork()
		p.GistWork()
		p.SPGistWork()
	},
	questions: []string{
		"hashed where k = 4000", "hashed where k = 3", "chains where k = 1", "chains where k = 4", "hash_many where k = md5('77')", "dead where k = 7",
		"spots where p <@ box '(100,100),(900,400)'", "areas where b && box '(10,10),(20,20)'", "areas where c @> circle '((50,50),1)'",
		"areas where int4range(id, id + 10) @> 500", "texts where v @@ 'w17'", "gone where p <@ box '(0,0),(1,9)'",
		"words where w ^@ 'a'", "words where w = md5('847')", "words where w is null", "places where p <@ box '(0,0),(300,700)'",
		"places where n << '10.0.0.0/8'", "places where box(p, p) && box '(1,1),(400,400)'",
	},
	goOn: func(p *testkit.Postgres) {
		p.Exec("postgres", "drop table hashed, chains, hash_many, unlogged_hash, dead")
		p.HashWork()
		p.Exec("postgres", "insert into spots select g, point(g, g) from generate_series(1, 2000) g; delete from words where id % 7 = 0")
		p.Exec("postgres", "vacuum")
	},
}

// ginIndexes has checkpoints between, so that records with images and without them meet.
var ginIndexes = indexes{
	work: func(p *testkit.Postgres) {
		p.GinWork()
		p.Exec("postgres", "checkpoint")
		p.BrinWork()
		p.GenericWork()
		p.Exec("postgres", "checkpoint")
		p.Exec("postgres", "insert into gin_many select g, array[1, g] from generate_series(1, 500) g")
	},
	questions: []string{
		"gin_many where k @> array[1]", "gin_many where k @> array[101]", "gin_many where k @> array[1007, 102]", "gin_many where k @> array[5]",
		"gin_words where j @> '{\"mod\": 3}'", "gin_words where j ? 'more'", "gin_words where w @> array[(select min(x) from gin_words, unnest(w) x)]",
		"gin_words where v @@ to_tsquery('simple', md5('71'))", "gin_list where k @> array[3]", "gin_list where k && array[5001, 17]",
		"brin_wide where id between 100 and 150", "brin_wide where id between 2900 and 2950", "brin_wide where id = -7", "brin_wide where t = '2024-01-01'::timestamptz + interval '500 h'",
		"brin_text where k > 'zz'", "brin_text where k between '00000500' and '00000600'", "bloomed where a = 5", "bloomed where a = 3 and b = md5('2040')",
	},
	goOn: func(p *testkit.Postgres) {
		s := p.Connect("postgres")
		defer s.Close()
		s.Each("insert into gin_many select g, array[1, 100 + g % 3] from generate_series(1, 3000) g", "delete from gin_many where id % 3 = 0", "vacuum gin_many",
			"delete from gin_words where id % 2 = 0", "vacuum gin_words", "insert into gin_list select g, array[g % 10] from generate_series(1, 1000) g",
			"insert into brin_wide select g, now(), 'x' from generate_series(1, 1000) g", "vacuum brin_wide", "vacuum brin_text",
			"delete from bloomed where id % 2 = 0", "vacuum bloomed", "insert into bloomed select g, g % 97, md5(g::text) from generate_series(1, 900) g")
	},
}

// TestHashGistSPGist takes indexes other than btree through what servers do with them: the cluster is the
// server's at the end, PostgreSQL's own recovery's at positions between, and a backup of it boots and finds
// by index what it finds without.
func TestHashGistSPGist(t *testing.T) { treeIndexes.test(t) }

// TestGinBrinBloom is TestHashGistSPGist for GIN, BRIN and an extension's index.
func TestGinBrinBloom(t *testing.T) { ginIndexes.test(t) }

func (x indexes) test(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, v := range []pg.Version{pg.V15, pg.V17} {
		if v == pg.V15 && !testkit.Long() {
			continue
		}
		t.Run(fmt.Sprint(int(v)), func(t *testing.T) { x.testWith(t, v) })
	}
}

func (x indexes) testWith(t *testing.T, v pg.Version) {
	p := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"wal_keep_size": "8GB"}})
	w := worked{version: v, server: p, base: filepath.Join(testkit.ServerDir(t), "base")}
	testkit.CopyTree(t, w.base, p.Data)
	p.Start()
	x.work(p)
	found := x.search(t, p)
	p.Stop()
	w.wal = p.CopyWAL()
	tl := importAndIngest(t, filepath.Join(t.TempDir(), "store"), w.base, w.wal, 16*mib)
	requireSameCluster(t, tl, v, p.Data, tl.LastRecordLSN(), tl.Info().OldestLSN)

	ends := testkit.RecordEnds(t, v, w.base, w.wal)
	rnd := testkit.Rand(t, uint64(v))
	for range testkit.Size(1, 1, 10) {
		lsn := ends[rnd.IntN(len(ends)-1)]
		requireSameCluster(t, tl, v, testkit.Recovery{Version: v, Base: w.base, WAL: w.wal, Until: lsn}.DataDir(t), lsn, 0)
	}
	back := backupAt(t, tl, v, tl.LastRecordLSN())
	back.Start()
	require.Equal(t, found, x.search(t, back))
	x.goOn(back)
	x.search(t, back)
	back.Stop()
}

// backupAt gives the server of a base backup, not started.
func backupAt(t *testing.T, tl *strata.Timeline, v pg.Version, lsn page.LSN) *testkit.Postgres {
	t.Helper()
	var b bytes.Buffer
	_, err := tl.BaseBackup(t.Context(), &b, strata.BaseBackupOptions{LSN: lsn})
	require.NoError(t, err)
	dir := filepath.Join(testkit.ServerDir(t), "data")
	testkit.Untar(t, dir, &b)
	return testkit.Adopt(t, v, dir, nil)
}

// search asks for rows by index and without, which must give the same, and gives the answers.
func (x indexes) search(t *testing.T, p *testkit.Postgres) (found []string) {
	t.Helper()
	s := p.Connect("postgres")
	defer s.Close()
	some := 0
	for _, q := range x.questions {
		rows := "select count(*) || ' ' || coalesce(sum(hashtext(x::text)::bigint), 0) from (select * from " + q + ") x"
		s.Each("set enable_seqscan = off", "set enable_indexscan = on", "set enable_indexonlyscan = on", "set enable_bitmapscan = on")
		byIndex := s.Value(rows)
		s.Each("set enable_seqscan = on", "set enable_indexscan = off", "set enable_indexonlyscan = off", "set enable_bitmapscan = off")
		require.Equal(t, s.Value(rows), byIndex, q)
		found = append(found, q+": "+byIndex)
		if byIndex != "0 0" {
			some++
		}
	}
	const least = 14 // of the questions have rows for an answer
	require.GreaterOrEqual(t, some, least, "%q", found)
	return found
}
