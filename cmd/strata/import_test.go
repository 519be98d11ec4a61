package main

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/remoteurl"
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

// tarOf makes a tar of a cluster.
func tarOf(t *testing.T, cluster string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "base.tar")
	f, err := os.Create(file)
	require.NoError(t, err)
	w := tar.NewWriter(f)
	require.NoError(t, w.AddFS(os.DirFS(cluster)))
	require.NoError(t, w.Close())
	require.NoError(t, f.Close())
	return file
}

// inS3 puts the files of a folder under a prefix of a bucket, and gives its URL.
func inS3(t *testing.T, server *testkit.S3, dir, prefix string) string {
	t.Helper()
	at := "s3://" + server.Bucket + "/" + prefix + "?endpoint=" + server.Endpoint
	store, err := remoteurl.Open(t.Context(), at)
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		key, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		_, err = store.Put(t.Context(), filepath.ToSlash(key), bytes.NewReader(b), int64(len(b)), remote.PutOptions{})
		return err
	}))
	require.NoError(t, store.Close())
	return at
}

// TestImportSources: a tar and an object store, a folder's and S3, give what the folder gives.
func TestImportSources(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	cluster := sampleCluster(t)
	file := tarOf(t, cluster)
	server := testkit.StartS3(t)
	for name, args := range map[string][]string{
		"tar":       {"--tar", file},
		"objects":   {"--from", "file://" + cluster},
		"S3, files": {"--from", inS3(t, server, cluster, "files/of")},
		"S3, tar":   {"--from", inS3(t, server, filepath.Dir(file), "tars")},
		"rel dirs":  {"--pgdata", cluster, "--rel-dirs", "migrated"},
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
