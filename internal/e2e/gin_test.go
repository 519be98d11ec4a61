package e2e

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pg"
)

// TestGinBrinBloom is TestHashGistSPGist for GIN, BRIN and an extension's index, with checkpoints between,
// so that records with images and without them meet.
func TestGinBrinBloom(t *testing.T) {
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
			p.GinWork()
			p.Exec("postgres", "checkpoint")
			p.BrinWork()
			p.GenericWork()
			p.Exec("postgres", "checkpoint")
			p.Exec("postgres", "insert into gin_many select g, array[1, g] from generate_series(1, 500) g")
			found := searchByBitmap(t, p)
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
			require.Equal(t, found, searchByBitmap(t, back))
			// And goes on with them.
			s := back.Connect("postgres")
			s.Each("insert into gin_many select g, array[1, 100 + g % 3] from generate_series(1, 3000) g", "delete from gin_many where id % 3 = 0", "vacuum gin_many",
				"delete from gin_words where id % 2 = 0", "vacuum gin_words", "insert into gin_list select g, array[g % 10] from generate_series(1, 1000) g",
				"insert into brin_wide select g, now(), 'x' from generate_series(1, 1000) g", "vacuum brin_wide", "vacuum brin_text",
				"delete from bloomed where id % 2 = 0", "vacuum bloomed", "insert into bloomed select g, g % 97, md5(g::text) from generate_series(1, 900) g")
			s.Close()
			searchByBitmap(t, back)
			back.Stop()
		})
	}
}

// searchByBitmap asks for rows by index and without, which must give the same, and gives the answers.
func searchByBitmap(t *testing.T, p *testkit.Postgres) (found []string) {
	t.Helper()
	s := p.Connect("postgres")
	defer s.Close()
	some := 0
	for _, q := range []string{
		"gin_many where k @> array[1]", "gin_many where k @> array[101]", "gin_many where k @> array[1007, 102]", "gin_many where k @> array[5]",
		"gin_words where j @> '{\"mod\": 3}'", "gin_words where j ? 'more'", "gin_words where w @> array[(select min(x) from gin_words, unnest(w) x)]",
		"gin_words where v @@ to_tsquery('simple', md5('71'))", "gin_list where k @> array[3]", "gin_list where k && array[5001, 17]",
		"brin_wide where id between 100 and 150", "brin_wide where id between 2900 and 2950", "brin_wide where id = -7", "brin_wide where t = '2024-01-01'::timestamptz + interval '500 h'",
		"brin_text where k > 'zz'", "brin_text where k between '00000500' and '00000600'", "bloomed where a = 5", "bloomed where a = 3 and b = md5('2040')",
	} {
		rows := "select count(*) || ' ' || coalesce(sum(hashtext(x::text)::bigint), 0) from (select * from " + q + ") x"
		s.Each("set enable_seqscan = off", "set enable_bitmapscan = on")
		byIndex := s.Value(rows)
		s.Each("set enable_seqscan = on", "set enable_bitmapscan = off", "set enable_indexscan = off")
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
