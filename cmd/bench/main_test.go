package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/cmd/internal/cli"
)

// TestMain: redo in processes starts this program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "redo-worker" {
		main()
	}
	os.Exit(m.Run())
}

func bench(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	require.Equal(t, code, cli.Run(t.Context(), newRoot(), args, &out, &errs), "%v: %s", args, &errs)
	return out.String(), errs.String()
}

// TestRunAndCompare runs two workloads twice and compares them.
func TestRunAndCompare(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"old", "new"} {
		out, said := bench(t, 0, "run", "--profile", "tiny", "--rounds", "3", "--dir", dir, "--run", "LayerMapSearch|L0Stack/std/height=3/depth|Redo/pool/short")
		require.Contains(t, said, "ns/op ±")
		files = append(files, filepath.Join(dir, name))
		require.NoError(t, os.WriteFile(files[len(files)-1], []byte(out), 0o600))
	}
	plot := filepath.Join(dir, "plot.svg")
	out, _ := bench(t, 0, append([]string{"compare", "--plot", plot}, files...)...)
	require.Contains(t, out, "LayerMapSearch/sequential")
	require.FileExists(t, plot)
	table, _ := bench(t, 0, "table", files[1])
	require.Contains(t, table, "| depth=2 |")
	require.Contains(t, table, "--profile='tiny'")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 3)
	for _, args := range [][]string{{"compare", "one"}, {"run", "--profile", "slow"}, {"run", "--run", "["}, {"run", "--run", "nothing"}, {"run", "--colour"}, {"run", "--depths", "0"}, {"table"}} {
		bench(t, 2, args...)
	}
	bench(t, 1, "compare", plot, plot)
}

// TestDocumentedResults: what the documentation says of a run is what the committed results say.
func TestDocumentedResults(t *testing.T) {
	docs := filepath.Join("..", "..", "docs")
	results, doc := filepath.Join(docs, "performance.jsonl"), filepath.Join(docs, "performance.md")
	bench(t, 0, "table", results, "--doc", doc, "--check")
	text, err := os.ReadFile(doc)
	require.NoError(t, err)
	other := filepath.Join(t.TempDir(), "doc.md")
	require.NoError(t, os.WriteFile(other, bytes.Replace(text, []byte("± "), []byte("± 1"), 1), 0o600))
	_, errs := bench(t, 1, "table", results, "--doc", other, "--check")
	require.Contains(t, errs, "says other than")
	bench(t, 0, "table", results, "--doc", other)
	bench(t, 0, "table", results, "--doc", other, "--check")
	bench(t, 1, "table", results, "--doc", results)
}

func TestSnapshot(t *testing.T) {
	dir := t.TempDir()
	snap, store := filepath.Join(dir, "snap"), filepath.Join(dir, "store")
	out, _ := bench(t, 0, "snapshot", "create", "--height", "2", "--pages", "10", snap)
	require.Regexp(t, `^snapshot: files=\d+ digest=[0-9a-f]{64} seconds=`, out)
	digest := regexp.MustCompile(`digest=([0-9a-f]+)`).FindStringSubmatch(out)[1]
	out, _ = bench(t, 0, "snapshot", "create", "--height", "2", "--pages", "10", filepath.Join(dir, "again"))
	require.Contains(t, out, digest, "the same data, the same layers")
	out, _ = bench(t, 0, "snapshot", "create", "--height", "1", "--pages", "10", filepath.Join(dir, "other"))
	require.NotContains(t, out, digest)
	out, _ = bench(t, 0, "snapshot", "use", "--digest", digest, filepath.Join(dir, "again"), store)
	require.Regexp(t, `copied=(reflink|link|copy) `, out)
	_, errs := bench(t, 1, "snapshot", "use", "--digest", "7", snap, filepath.Join(dir, "third"))
	require.Contains(t, errs, "is wanted")
	bench(t, 2, "snapshot", "create", "--workload", "sand", filepath.Join(dir, "x"))
	bench(t, 2, "snapshot", "use", snap)
}
