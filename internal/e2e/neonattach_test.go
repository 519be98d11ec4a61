package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/localstore"
	"github.com/stratapg/strata/virtualfile"
)

// attachNeon attaches both of Neon's timelines to a new store.
func attachNeon(t *testing.T, dir string, storage remote.Storage) (e *strata.Engine, main, branch *strata.Timeline) {
	e, err := strata.Open(t.Context(), strata.Options{Dir: dir, CreateIfMissing: true, Tenant: neonTenant, ValidateIO: true,
		Compaction: strata.Compaction{Period: strata.Every(0)}, Remote: strata.RemoteOptions{Storage: storage}})
	require.NoError(t, err)
	tn, tls, err := e.Attach(t.Context(), strata.AttachOptions{Tenant: neonTenant})
	require.NoError(t, err)
	require.Len(t, tls, 2)
	main, err = tn.Timeline(t.Context(), "main")
	require.NoError(t, err)
	branch, err = tn.Timeline(t.Context(), neonBranch.String())
	require.NoError(t, err)
	return e, main, branch
}

// TestAttachNeonsRemote attaches Neon's remote storage as it stood before its last WAL, of the indexes alone, ingests that WAL,
// and attaches once more what has become of it: every page that Neon answered, each time.
func TestAttachNeonsRemote(t *testing.T) {
	dir := t.TempDir()
	testkit.UntarFixture(t, filepath.Join(dir, "remote"), neonFixture+"/remote.tar.zst")
	at := neonRemote(filepath.Join(dir, "remote"))
	require.NoError(t, os.Remove(at.path(neonMain, "index_part.json-00000002")))
	storage, err := localstore.Open(virtualfile.NewOS(), string(at))
	require.NoError(t, err)
	defer storage.Close()
	const first, second, third = "0/2432748", "0/25E23A8", "0/2E770A0"

	e, main, branch := attachNeon(t, filepath.Join(dir, "one"), storage)
	require.Equal(t, 55, main.Info().Layers)
	files := func(store string) (n int) {
		names, err := filepath.Glob(filepath.Join(dir, store, "tenants/*/timelines/*/*__*"))
		require.NoError(t, err)
		return len(names)
	}
	require.Less(t, files("one"), 10, "only what the control file needed was fetched")
	for _, lsn := range []string{first, second} {
		compareAnswers(t, main, lsn)
		compareAnswers(t, branch, lsn)
	}
	const segment = "000000010000000000000002"
	wal := filepath.Join(dir, "wal")
	require.NoError(t, os.Mkdir(wal, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(wal, segment), testkit.FixtureZstd(t, neonFixture+"/"+segment+".zst"), 0o644))
	_, err = main.Ingest(t.Context(), strata.IngestOptions{Dir: wal})
	require.NoError(t, err)
	require.Equal(t, third, main.LastRecordLSN().String())
	require.NoError(t, e.Close())

	e, main, branch = attachNeon(t, filepath.Join(dir, "two"), storage)
	defer func() { require.NoError(t, e.Close()) }()
	require.Equal(t, third, main.LastRecordLSN().String())
	for _, lsn := range []string{first, second, third} {
		compareAnswers(t, main, lsn)
	}
	compareAnswers(t, branch, second)
	require.NoError(t, main.Download(t.Context(), nil))
	_, err = e.Evict(t.Context(), strata.EvictLimits{MaxBytes: 1})
	require.NoError(t, err)
	require.Zero(t, files("two"))
	final := filepath.Join(dir, "final")
	testkit.UntarFixture(t, final, neonFixture+"/final-pgdata.tar.zst")
	requireSameCluster(t, main, pg.V17, final, main.LastRecordLSN(), 0)
	var generations []string
	for entry, err := range storage.List(t.Context(), "tenants/", remote.ListOptions{}) {
		require.NoError(t, err)
		if _, g, ok := strings.Cut(entry.Key, neonMain.String()+"/index_part.json-"); ok {
			generations = append(generations, g)
		}
	}
	require.Contains(t, generations, "00000004")
}
