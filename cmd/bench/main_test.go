package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func bench(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	require.Equal(t, code, run(t.Context(), args, &out, &errs), "%v: %s", args, &errs)
	return out.String(), errs.String()
}

// TestRunAndCompare runs two workloads twice and compares them.
func TestRunAndCompare(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"old", "new"} {
		out, said := bench(t, 0, "run", "--profile", "tiny", "--rounds", "3", "--dir", dir, "--run", "LayerMapSearch|L0Stack/std")
		require.Contains(t, said, "ns/op ±")
		files = append(files, filepath.Join(dir, name))
		require.NoError(t, os.WriteFile(files[len(files)-1], []byte(out), 0o600))
	}
	plot := filepath.Join(dir, "plot.svg")
	out, _ := bench(t, 0, append([]string{"compare", "--plot", plot}, files...)...)
	require.Contains(t, out, "LayerMapSearch/sequential")
	require.FileExists(t, plot)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 3)
	for _, args := range [][]string{{"compare", "one"}, {"run", "--profile", "slow"}, {"run", "--run", "["}, {"run", "--run", "nothing"}, {"run", "--colour"}} {
		bench(t, 2, args...)
	}
	bench(t, 1, "compare", plot, plot)
}

func TestSnapshot(t *testing.T) {
	dir := t.TempDir()
	snap, store := filepath.Join(dir, "snap"), filepath.Join(dir, "store")
	out, _ := bench(t, 0, "snapshot", "create", "--height", "2", "--pages", "10", snap)
	require.Regexp(t, `^snapshot: files=\d+ digest=[0-9a-f]{64} seconds=`, out)
	out, _ = bench(t, 0, "snapshot", "use", snap, store)
	require.Regexp(t, `copied=(reflink|link|copy) `, out)
	_, errs := bench(t, 1, "snapshot", "use", "--digest", "7", snap, filepath.Join(dir, "other"))
	require.Contains(t, errs, "is wanted")
	bench(t, 2, "snapshot", "create", "--workload", "sand", filepath.Join(dir, "x"))
	bench(t, 2, "snapshot", "use", snap)
}
