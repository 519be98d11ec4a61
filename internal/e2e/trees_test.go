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

// TestHashGistSPGist takes indexes other than btree through what servers do with them: the cluster is the
// server's at the end, PostgreSQL's own recovery's at positions between, and a backup of it boots and finds
// by index what it finds without.
func TestHashGistSPGist(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, v := range []pg.Version{pg.V15, pg.V17} {
		if v == pg.V15 && !testkit.Long() {
			continue
		}
		t.Run(fmt.Sprint(int(v)), func(t *testing.T) {
			p := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"wal_keep_size": "8GB"}})
			w := worked{version: v, server: p, base: filepath.Join(testkit.ServerDir(t), "base")}
			testkit.CopyTree(t, w.base, p.Data)
			p.Start()
			p.HashWork()
			p.GistWork()
			p.SPGistWork()
			found := searchTrees(t, p)
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
			require.Equal(t, found, searchTrees(t, back))
			// And goes on with them.
			back.Exec("postgres", "drop table hashed, chains, hash_many, unlogged_hash, dead")
			back.HashWork()
			back.Exec("postgres", "insert into spots select g, point(g, g) from generate_series(1, 2000) g; delete from words where id % 7 = 0")
			back.Exec("postgres", "vacuum")
			searchTrees(t, back)
			back.Stop()
		})
	}
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

// searchTrees asks for rows by index and without, which must give the same, and gives the answers.
func searchTrees(t *testing.T, p *testkit.Postgres) (found []string) {
	t.Helper()
	s := p.Connect("postgres")
	defer s.Close()
	some := 0
	for _, q := range []string{
		"hashed where k = 4000", "hashed where k = 3", "chains where k = 1", "chains where k = 4", "hash_many where k = md5('77')", "dead where k = 7",
		"spots where p <@ box '(100,100),(900,400)'", "areas where b && box '(10,10),(20,20)'", "areas where c @> circle '((50,50),1)'",
		"areas where int4range(id, id + 10) @> 500", "texts where v @@ 'w17'", "gone where p <@ box '(0,0),(1,9)'",
		"words where w ^@ 'a'", "words where w = md5('847')", "words where w is null", "places where p <@ box '(0,0),(300,700)'",
		"places where n << '10.0.0.0/8'", "places where box(p, p) && box '(1,1),(400,400)'",
	} {
		rows := "select count(*) || ' ' || coalesce(sum(hashtext(x::text)::bigint), 0) from (select * from " + q + ") x"
		s.Each("set enable_seqscan = off", "set enable_indexscan = on", "set enable_bitmapscan = on")
		byIndex := s.Value(rows)
		s.Each("set enable_seqscan = on", "set enable_indexscan = off", "set enable_bitmapscan = off", "set enable_indexonlyscan = off")
		require.Equal(t, s.Value(rows), byIndex, q)
		s.Exec("reset enable_indexonlyscan")
		found = append(found, q+": "+byIndex)
		if byIndex != "0 0" {
			some++
		}
	}
	const least = 14 // of the questions have rows for an answer
	require.GreaterOrEqual(t, some, least, "%q", found)
	return found
}
