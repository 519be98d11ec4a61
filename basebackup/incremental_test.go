package basebackup_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/basebackup"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// EachChanged goes through every version of every key.
func (s *memStore) EachChanged(_ context.Context, keys page.Range, from, to page.LSN, fn func(page.Key) error) error {
	for _, k := range s.keys() {
		if !keys.Contains(k) {
			continue
		}
		for _, v := range s.values[k] {
			if v.lsn > from && v.lsn <= to {
				if err := fn(k); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// archive is a tar in memory.
type archive struct {
	*bytes.Reader
	name string
}

func (a archive) Name() string { return a.name }

func backupOf(t testing.TB, store *memStore, lsn, parent page.LSN) archive {
	var b bytes.Buffer
	r, err := basebackup.Write(t.Context(), &b, store, basebackup.Options{LSN: lsn, Version: store.version, Manifest: true, Parent: parent})
	require.NoError(t, err)
	require.Equal(t, lsn, r.LSN)
	return archive{bytes.NewReader(b.Bytes()), fmt.Sprintf("backup of %s from %s", lsn, parent)}
}

func content(t testing.TB, a archive) []byte {
	b, err := io.ReadAll(io.NewSectionReader(a, 0, a.Size()))
	require.NoError(t, err)
	return b
}

func combined(t testing.TB, chain ...archive) archive {
	var files []basebackup.TarFile
	for _, a := range chain {
		files = append(files, a)
	}
	var b bytes.Buffer
	_, err := basebackup.Combine(t.Context(), &b, files, basebackup.CombineOptions{})
	require.NoError(t, err)
	return archive{bytes.NewReader(b.Bytes()), "combined"}
}

// TestIncremental makes chains of backups of a cluster that a server worked on. What a chain comes to is, byte for byte,
// the full backup of its last LSN; a server starts from it; and so does one of PostgreSQL 17 from what its own
// pg_combinebackup makes of it, after its pg_verifybackup has found nothing wrong with any of them.
func TestIncremental(t *testing.T) {
	versions := []pg.Version{pg.V17, pg.V15, pg.V14, pg.V16}
	if !testkit.WithoutRace(t) {
		return
	}
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
			want := sums(src)
			src.Stop()
			store.ingest(t, src.CopyWAL())

			rng := testkit.Rand(t, uint64(v))
			ends := store.recordEnds(begin)
			for range testkit.Size(1, 1, 20) {
				a, b := rng.IntN(len(ends)), rng.IntN(len(ends))
				lsns := []page.LSN{begin, ends[min(a, b)], ends[max(a, b)], store.LastRecordLSN()}
				full := backupOf(t, store, lsns[0], 0)
				chain := []archive{full}
				for i, lsn := range lsns[1:] {
					chain = append(chain, backupOf(t, store, lsn, lsns[i]))
					sum := combined(t, chain...)
					require.True(t, bytes.Equal(content(t, backupOf(t, store, lsn, 0)), content(t, sum)), "%s", lsn)
					if i == 0 { // the combination stands for its chain
						chain = []archive{sum}
					}
				}
			}
			full, first := backupOf(t, store, begin, 0), backupOf(t, store, middle, begin)
			last := backupOf(t, store, store.LastRecordLSN(), middle)
			require.Less(t, first.Size()-32<<20, full.Size()*9/10)
			dir := filepath.Join(testkit.ServerDir(t), "data")
			testkit.Untar(t, dir, bytes.NewReader(content(t, combined(t, full, first, last))))
			startsFrom(t, testkit.Adopt(t, v, dir, nil), want)
			if v >= pg.V17 {
				t.Run("pg_combinebackup", func(t *testing.T) { startsFrom(t, byPostgreSQL(t, src, full, first, last), want) })
			}
		})
	}
}

// byPostgreSQL has PostgreSQL's own tools verify backups, with their WAL, and combine them.
func byPostgreSQL(t *testing.T, src *testkit.Postgres, chain ...archive) *testkit.Postgres {
	combine, verify := testkit.BackupTool(t, "pg_combinebackup"), testkit.BackupTool(t, "pg_verifybackup")
	root := testkit.ServerDir(t)
	data := filepath.Join(root, "data")
	args := []string{"-o", data}
	for i, a := range chain {
		dir := filepath.Join(root, fmt.Sprint(i))
		testkit.Untar(t, dir, bytes.NewReader(content(t, a)))
		require.NoError(t, os.Chmod(dir, 0o700))
		testkit.Give(t, dir)
		src.Run(verify, dir)
		args = append(args, dir)
	}
	out, err := src.TryRun(combine, append(args[:2:2], args[2], args[4])...)
	require.Error(t, err, "a link of the chain is missing")
	require.Contains(t, out, "starts at LSN")
	require.NoError(t, os.RemoveAll(data))
	src.Run(combine, args...)
	src.Run(verify, data)
	return testkit.Adopt(t, src.Version, data, nil)
}

// startsFrom starts a server on a backup with a label, which has its end in the WAL.
func startsFrom(t *testing.T, p *testkit.Postgres, want map[string]string) {
	p.Start()
	require.NotContains(t, p.Log(), "WARNING")
	got := sums(p)
	for _, left := range []string{"postgres.scratch", "postgres.counter"} { // unlogged; logged ahead
		delete(got, left)
		delete(want, left)
	}
	require.Equal(t, want, got)
	checkIndexes(p, "bt_index_check")
	p.Exec("postgres", "insert into accounts select g, 0, repeat('n', 50) from generate_series(1000000, 1003000) g")
	p.Exec("postgres", "commit prepared 'p1'")
	p.Stop()
	checkChecksums(t, p)
}
