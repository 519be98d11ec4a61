package strata_test

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/basebackup"
	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// allKinds are more than anybody would keep.
func allKinds(t *testing.T) (kinds []strata.BackupKind) {
	for _, s := range []string{"compute+gzip", "full", "compute+replica+no-slrus", "full+zstd:1"} {
		k, err := strata.ParseBackupKind(s)
		require.NoError(t, err)
		kinds = append(kinds, k)
	}
	return kinds
}

func TestBackupKinds(t *testing.T) {
	for text, want := range map[string]string{
		"full": "full", "compute+gzip": "compute+gzip:1", "standby+zstd:6": "standby+zstd:6",
		"compute+no-slrus+replica": "compute+replica+no-slrus", "compute+none": "compute",
	} {
		k, err := strata.ParseBackupKind(text)
		require.NoError(t, err)
		require.Equal(t, want, k.String())
		again, err := strata.ParseBackupKind(k.String())
		require.NoError(t, err)
		require.Equal(t, k.String(), again.String())
	}
	for text, want := range map[string]string{"": "want full", "half": "want full", "full+replica": "for a compute", "compute+lzma": "replica"} {
		_, err := strata.ParseBackupKind(text)
		require.ErrorContains(t, err, want, text)
	}
	_, err := strata.Open(t.Context(), strata.Options{Dir: t.TempDir(), BackupCache: strata.BackupCacheOptions{Dir: "x", Entries: -1, Kinds: []strata.BackupKind{{Replica: true}}}})
	require.ErrorContains(t, err, "entries are limited to -1")
	require.ErrorContains(t, err, "for a compute")
}

// until waits for a condition that background work brings about.
func until(t *testing.T, met func() bool) {
	t.Helper()
	for !met() {
		require.NoError(t, clock.Sleep(t.Context(), 1e6))
	}
}

// TestBackupAfterShutdown stops a server, takes in its WAL, and finds its backups made. A server starts from one of them.
func TestBackupAfterShutdown(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	src := testkit.Server(t, pg.V17, testkit.Config{WALSegSizeMB: 1, Settings: map[string]string{"wal_keep_size": "1GB"}})
	base := t.TempDir()
	testkit.CopyTree(t, filepath.Join(base, "data"), src.Data)
	src.Start()
	src.Exec("postgres", "create table t as select i, repeat('x', 100) from generate_series(1, 1000) i")
	src.Stop()

	o := strata.Options{Dir: filepath.Join(base, "store"), CreateIfMissing: true,
		BackupCache: strata.BackupCacheOptions{Dir: filepath.Join(base, "cache"), Kinds: allKinds(t)}}
	e, err := strata.Open(t.Context(), o)
	require.NoError(t, err)
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, _, err := tn.Import(t.Context(), strata.ImportOptions{PGData: filepath.Join(base, "data"), Name: "main"})
	require.NoError(t, err)
	imported := tl.LastRecordLSN()
	_, err = tl.Ingest(t.Context(), strata.IngestOptions{Dir: src.CopyWAL()})
	require.NoError(t, err)
	require.Greater(t, tl.LastRecordLSN(), imported)
	until(t, func() bool { m := e.BackupCacheMetrics(); return m.Entries == 4 && m.Running == 0 })
	require.EqualValues(t, 4, e.BackupCacheMetrics().Preparations, "of the shutdown alone")
	require.Equal(t, tl.LastRecordLSN(), tl.DiskConsistentLSN(), "what is kept is durable")

	var w bytes.Buffer
	r, err := tl.BaseBackup(t.Context(), &w, strata.BaseBackupOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 1, e.BackupCacheMetrics().Hits)
	require.EqualValues(t, w.Len(), r.Bytes)
	require.Equal(t, tl.LastRecordLSN(), r.LSN)

	// One of a state where the server ran is made for who asks.
	_, err = tl.BaseBackup(t.Context(), &bytes.Buffer{}, strata.BaseBackupOptions{LSN: imported + 400})
	require.NoError(t, err)
	m := e.BackupCacheMetrics()
	require.Equal(t, [3]int64{1, 0, 4}, [3]int64{m.Hits, m.Misses, m.Preparations})
	require.NoError(t, e.Close())

	// After a restart it is there still, and it is what would be made without a cache.
	e, err = strata.Open(t.Context(), o)
	require.NoError(t, err)
	tn, err = e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, err = tn.Timeline(t.Context(), "main")
	require.NoError(t, err)
	var again bytes.Buffer
	rr, err := tl.BaseBackup(t.Context(), &again, strata.BaseBackupOptions{})
	require.NoError(t, err)
	require.Equal(t, r, rr)
	require.EqualValues(t, 1, e.BackupCacheMetrics().Hits)
	require.NoError(t, e.Close())
	plain := o
	plain.BackupCache = strata.BackupCacheOptions{}
	e, err = strata.Open(t.Context(), plain)
	require.NoError(t, err)
	tn, err = e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, err = tn.Timeline(t.Context(), "main")
	require.NoError(t, err)
	var made bytes.Buffer
	rr, err = tl.BaseBackup(t.Context(), &made, strata.BaseBackupOptions{})
	require.NoError(t, err)
	require.Equal(t, r, rr)
	require.True(t, bytes.Equal(w.Bytes(), again.Bytes()) && bytes.Equal(w.Bytes(), made.Bytes()))
	require.NoError(t, e.Close())

	dir := filepath.Join(testkit.ServerDir(t), "data")
	testkit.Untar(t, dir, &again)
	back := testkit.Adopt(t, pg.V17, dir, nil)
	back.Start()
	require.Equal(t, [][]string{{"1000"}}, back.Query("postgres", "select count(*) from t"))
	back.Stop()
}

// TestBackupsOfGone shows that what is kept of a timeline goes with it, and that one made anew under the same id gets its own.
func TestBackupsOfGone(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	dir := t.TempDir()
	src := testkit.Server(t, pg.V17, testkit.Config{WALSegSizeMB: 1})
	testkit.CopyTree(t, filepath.Join(dir, "data"), src.Data)
	e, err := strata.Open(t.Context(), strata.Options{Dir: filepath.Join(dir, "store"), CreateIfMissing: true,
		BackupCache: strata.BackupCacheOptions{Dir: filepath.Join(dir, "cache")}})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, _, err := tn.Import(t.Context(), strata.ImportOptions{PGData: filepath.Join(dir, "data"), Name: "main"})
	require.NoError(t, err)
	for _, name := range []string{"one", "two"} {
		b, err := tn.Branch(t.Context(), tl, strata.BranchOptions{Name: name})
		require.NoError(t, err)
		ask(t, b)
	}
	require.EqualValues(t, 2, e.BackupCacheMetrics().Entries)
	require.NoError(t, tn.Delete(t.Context(), "one"))
	require.EqualValues(t, 1, e.BackupCacheMetrics().Entries)

	// A state that has the same LSN and is another cluster's: the checkpoint tells.
	ask(t, tl)
	before := e.BackupCacheMetrics()
	id := page.TimelineID{1: 2}
	for n := range 2 {
		c, err := tn.Create(t.Context(), strata.CreateOptions{Name: "same", ID: id, Version: pg.V17, Flavour: pg.Neon, InitialLSN: 0x1000})
		require.NoError(t, err)
		var b page.Batch
		checkPoint := make([]byte, 88)
		checkPoint[0], checkPoint[1], checkPoint[40] = 0x10, 0x10, byte(n)
		control, err := tl.Cluster(tl.LastRecordLSN()).ControlFile(t.Context())
		require.NoError(t, err)
		b.PutImage(page.ControlFileKey, 0x1010, control)
		b.PutImage(page.CheckpointKey, 0x1010, checkPoint)
		require.NoError(t, c.Put(t.Context(), &b))
		_, err = c.BaseBackup(t.Context(), &bytes.Buffer{}, compute)
		require.Error(t, err, "there is no cluster in it; it was asked for all the same")
		require.NoError(t, tn.Delete(t.Context(), "same"))
	}
	after := e.BackupCacheMetrics()
	require.EqualValues(t, 2, after.Preparations-before.Preparations)
	require.EqualValues(t, 2, after.Failures-before.Failures)
	require.NoError(t, e.DeleteTenant(t.Context(), tn.ID()))
	require.Zero(t, e.BackupCacheMetrics().Entries)
}

var compute = strata.BaseBackupOptions{Format: strata.BackupCompute, Compression: strata.BackupCompression{Algorithm: basebackup.Gzip}}

func ask(t *testing.T, tl *strata.Timeline) {
	t.Helper()
	_, err := tl.BaseBackup(context.Background(), &bytes.Buffer{}, compute)
	require.NoError(t, err)
}
