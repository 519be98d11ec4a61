package wal_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// fixture finds a file of the shared fixtures; without them the test is skipped.
func fixture(t testing.TB, rel string) string {
	dirs := []string{os.Getenv("STRATA_FIXTURES")}
	if dirs[0] == "" {
		dirs = nil
		wd, err := os.Getwd()
		require.NoError(t, err)
		for d := wd; d != filepath.Dir(d); d = filepath.Dir(d) {
			dirs = append(dirs, filepath.Join(d, "..", "shared", "fixtures"))
		}
	}
	for _, d := range dirs {
		if _, err := os.Stat(filepath.Join(d, rel)); err == nil {
			return filepath.Join(d, rel)
		}
	}
	t.Skipf("fixture %s is missing: set STRATA_FIXTURES to the folder that holds it", rel)
	return ""
}

// unzstd reads a fixture compressed with zstd --long.
func unzstd(t testing.TB, rel string) []byte {
	f, err := os.Open(fixture(t, rel))
	require.NoError(t, err)
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderMaxWindow(1<<31), zstd.WithDecoderConcurrency(1))
	require.NoError(t, err)
	defer z.Close()
	var b bytes.Buffer
	_, err = io.Copy(&b, z)
	require.NoError(t, err)
	return b.Bytes()
}
