package main

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/pg"
)

// sampleCluster unpacks the sample's cluster.
func sampleCluster(t *testing.T) string {
	t.Helper()
	s, err := sample.Open("../../testdata/sample")
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "cluster")
	require.NoError(t, s.ExtractCluster(dir))
	return dir
}

// TestImportSources: a tar and an object store give what the folder gives.
func TestImportSources(t *testing.T) {
	cluster := sampleCluster(t)
	file := filepath.Join(t.TempDir(), "cluster.tar")
	f, err := os.Create(file)
	require.NoError(t, err)
	w := tar.NewWriter(f)
	require.NoError(t, w.AddFS(os.DirFS(cluster)))
	require.NoError(t, w.Close())
	require.NoError(t, f.Close())
	for name, args := range map[string][]string{
		"tar":     {"--tar", file},
		"objects": {"--from", "file://" + cluster},
	} {
		t.Run(name, func(t *testing.T) {
			store := filepath.Join(t.TempDir(), "store")
			must(t, append([]string{"import", "--store", store, "--job-pages", "300"}, args...)...)
			require.Contains(t, must(t, "verify", "cluster", "--store", store, "--pgdata", cluster), " different=0 ")
		})
	}
}

// TestImportResume: what was imported before an error is not imported again; until all is there the timeline is of no use.
func TestImportResume(t *testing.T) {
	cluster, store := sampleCluster(t), filepath.Join(t.TempDir(), "store")
	victim := ""
	require.NoError(t, filepath.WalkDir(filepath.Join(cluster, "global"), func(name string, d os.DirEntry, err error) error {
		if info, infoErr := d.Info(); infoErr == nil && d.Type().IsRegular() && info.Size() >= pg.BlockSize && !strings.Contains(name, "pg_") {
			victim = name
		}
		return err
	}))
	whole, err := os.ReadFile(victim)
	require.NoError(t, err)
	torn := append([]byte(nil), whole...)
	torn[len(torn)-100] ^= 1
	require.NoError(t, os.WriteFile(victim, torn, 0o600))
	args := []string{"import", "--store", store, "--pgdata", cluster, "--job-pages", "100", "--jobs", "1"}

	code, _, errs := command(t, args...)
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "checksum")
	require.Contains(t, errs, "go on with it")
	require.Contains(t, must(t, "timelines", "--store", store), "importing")
	code, _, errs = command(t, "layers", "--store", store)
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "its import was not finished")

	require.NoError(t, os.WriteFile(victim, whole, 0o600))
	require.Contains(t, must(t, append(args, "--resume")...), "import: lsn=")
	require.Contains(t, must(t, "verify", "cluster", "--store", store, "--pgdata", cluster), " different=0 ")
	code, _, errs = command(t, append(args, "--resume")...)
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "exists")
}
