package basebackup_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/basebackup"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
)

// TestStandbyFollows starts standbys from backups at random ends of records, in mid-run and before the first checkpoint
// after the import: each replays the server's own WAL from its last real checkpoint, is consistent at the backup's LSN,
// follows the server, and can be promoted.
func TestStandbyFollows(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	versions := []pg.Version{pg.V15, pg.V17, pg.V14, pg.V16}
	for _, v := range versions[:testkit.Size(1, 1, 4)] {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			src := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"wal_keep_size": "1GB"}})
			src.Start()
			prepareCluster(src)
			src.Stop()
			store := importDir(t, v, src.Data)
			begin := store.LastRecordLSN()
			src.Start()
			middle := runWorkload(t, src)
			src.Stop()
			store.ingest(t, src.CopyWAL())
			src.Start()

			ends := store.recordEnds(begin)
			rng := testkit.Rand(t, uint64(v))
			lsns := []page.LSN{ends[rng.IntN(len(ends))], ends[len(ends)/20], middle, store.LastRecordLSN()}
			for range 20 {
				lsns = append(lsns, ends[rng.IntN(len(ends))])
			}
			refusesWAL(t, store, src)
			for _, lsn := range []page.LSN{lsns[0], store.LastRecordLSN()}[:testkit.Size(1, 1, 2)] {
				t.Run("by itself to "+strings.ReplaceAll(lsn.String(), "/", "_"), func(t *testing.T) { bringsWAL(t, store, src, lsn) })
			}
			for _, lsn := range lsns[:testkit.Size(1, 1, len(lsns))] {
				t.Run(strings.ReplaceAll(lsn.String(), "/", "_"), func(t *testing.T) { followsFrom(t, store, src, lsn) })
			}
		})
	}
}

// logged are the relations that a standby has as its primary has them: of sequences, WAL logs values ahead.
const logged = "relkind in ('r', 'm', 't') and relpersistence = 'p'"

// followsFrom starts one standby.
func followsFrom(t *testing.T, store *memStore, primary *testkit.Postgres, lsn page.LSN) {
	var buf bytes.Buffer
	r, err := basebackup.Write(t.Context(), &buf, store, basebackup.Options{LSN: lsn, Version: store.version, Format: basebackup.FormatStandby})
	require.NoError(t, err)
	require.Equal(t, lsn, r.LSN)
	dir := filepath.Join(testkit.ServerDir(t), "data")
	testkit.Untar(t, dir, &buf)
	back := testkit.Adopt(t, store.version, dir, map[string]string{"primary_conninfo": fmt.Sprintf("host=%s port=5432 user=postgres", primary.Dir)})
	back.Start()
	require.Contains(t, back.Log(), "consistent recovery state reached at "+lsn.String()+"\n")
	replayed(t, back, primary.LSN())
	require.NotContains(t, back.Log(), "WARNING")
	require.Equal(t, sumsOf(primary, logged), sumsOf(back, logged))
	checkIndexes(back, "bt_index_check")

	s := primary.Connect("postgres")
	s.Each("insert into held select g, 5 from generate_series((select max(id) + 1 from held), (select max(id) + 500 from held)) g", "checkpoint",
		"update accounts set b = b + 1 where id % 13 = 0")
	s.Close()
	replayed(t, back, primary.LSN())
	want := sumsOf(primary, logged)
	require.Equal(t, want, sumsOf(back, logged))
	require.Equal(t, "t", back.Value("postgres", "select pg_promote()"))
	require.Equal(t, want, sumsOf(back, logged))
	require.Equal(t, primary.Query("postgres", "select gid from pg_prepared_xacts order by 1"), back.Query("postgres", "select gid from pg_prepared_xacts order by 1"))
	back.Exec("postgres", "commit prepared 'p1'")
	back.Stop()
}

// bringsWAL starts a standby whose backup has the WAL that it needs: it comes to the backup's LSN with no server to ask, and
// follows the primary as soon as it is told of it.
func bringsWAL(t *testing.T, store *memStore, primary *testkit.Postgres, lsn page.LSN) {
	var buf bytes.Buffer
	_, err := basebackup.Write(t.Context(), &buf, store, basebackup.Options{LSN: lsn, Version: store.version, Format: basebackup.FormatStandby, WAL: os.DirFS(primary.CopyWAL())})
	require.NoError(t, err)
	dir := filepath.Join(testkit.ServerDir(t), "data")
	testkit.Untar(t, dir, &buf)
	back := testkit.Adopt(t, store.version, dir, nil)
	back.Start()
	require.Contains(t, back.Log(), "consistent recovery state reached at "+lsn.String()+"\n")
	require.Equal(t, "t", back.Value("postgres", fmt.Sprintf("select pg_last_wal_replay_lsn() = '%s'", lsn)))
	back.Stop()
	back.Configure(map[string]string{"primary_conninfo": fmt.Sprintf("host=%s port=5432 user=postgres", primary.Dir)})
	back.Start()
	replayed(t, back, primary.LSN())
	require.Equal(t, sumsOf(primary, logged), sumsOf(back, logged))
	checkIndexes(back, "bt_index_check")
	back.Stop()
}

// refusesWAL shows that WAL which does not reach the backup's LSN is no good, and that others have no use for any.
func refusesWAL(t *testing.T, store *memStore, src *testkit.Postgres) {
	lsn := store.LastRecordLSN()
	write := func(fsys fs.FS, f basebackup.Format) error {
		_, err := basebackup.Write(t.Context(), io.Discard, store, basebackup.Options{LSN: lsn, Version: store.version, WAL: fsys, Format: f})
		return err
	}
	err := write(fstest.MapFS{}, basebackup.FormatStandby)
	require.ErrorIs(t, err, basebackup.ErrNoWAL)
	require.ErrorContains(t, err, "REDO pointer")
	require.ErrorContains(t, write(fstest.MapFS{}, basebackup.FormatFull), "Options.WAL is for a standby")
	dir := src.CopyWAL()
	require.NoError(t, write(os.DirFS(dir), basebackup.FormatStandby))
	last := wal.SegmentName(1, lsn, wal.DefaultSegSize)
	b, err := os.ReadFile(filepath.Join(dir, last))
	require.NoError(t, err)
	clear(b[int64(lsn)%wal.DefaultSegSize-64:])
	require.NoError(t, os.WriteFile(filepath.Join(dir, last), b, 0o600))
	require.ErrorIs(t, write(os.DirFS(dir), basebackup.FormatStandby), basebackup.ErrNoWAL)
}

// replayed returns once a standby has come to an LSN.
func replayed(t *testing.T, p *testkit.Postgres, lsn page.LSN) {
	t.Helper()
	s := p.Connect("postgres")
	defer s.Close()
	for range 6000 {
		if s.Value(fmt.Sprintf("select pg_last_wal_replay_lsn() >= '%s' from pg_sleep(0.02)", lsn)) == "t" {
			return
		}
	}
	t.Fatalf("the standby has not come to %s:\n%s", lsn, p.LogTail())
}
