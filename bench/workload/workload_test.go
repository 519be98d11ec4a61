package workload

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
)

// TestAllOnce does each workload in its tiny form: twice prepared it computes the same, and each round gives all metrics.
func TestAllOnce(t *testing.T) {
	f := Folders{Sample: filepath.Join("..", "..", "testdata", "sample")}
	if dir := os.Getenv("STRATA_FIXTURES"); dir != "" {
		f.Fixtures = dir
	}
	seen := map[string]bool{}
	all := f.All(Tiny)
	if testkit.Size(1, 0, 0) == 1 { // the race detector sees a few of them
		all = slices.DeleteFunc(all, func(w Workload) bool {
			return strings.HasPrefix(w.Name, "Ingest/") || strings.HasPrefix(w.Name, "BackupStorm")
		})
	}
	for _, w := range all {
		require.False(t, seen[w.Name], w.Name)
		seen[w.Name] = true
		dir := filepath.Join(t.TempDir(), "work")
		require.NoError(t, os.Mkdir(dir, 0o755))
		j, err := w.Prepare(t.Context(), dir)
		if errors.Is(err, ErrNoEngine) {
			t.Log(w.Name, err)
			continue
		}
		require.NoError(t, err, w.Name)
		for range 2 {
			values, err := j.Round(t.Context())
			require.NoError(t, err, w.Name)
			require.Len(t, values, len(w.Metrics), w.Name)
			for i, v := range values {
				require.False(t, v < 0 || math.IsNaN(v) || math.IsInf(v, 0), "%s: %v %s", w.Name, v, w.Metrics[i].Unit)
			}
		}
		require.NoError(t, j.Close())
		t.Logf("%s: checksum %08x", w.Name, j.Check)
	}
	require.Len(t, seen, len(all))
}

// TestDataAreTheSame: a seed decides what a store holds, and one that was made is opened again.
func TestDataAreTheSame(t *testing.T) {
	var sums []uint32
	dir := filepath.Join(t.TempDir(), "one")
	for _, d := range []string{dir, filepath.Join(t.TempDir(), "two"), dir} {
		m, err := OpenImages(t.Context(), d, Engines[0].Kind, Tiny.Pages)
		require.NoError(t, err)
		sum, err := checksum(t.Context(), m)
		require.NoError(t, err)
		sums = append(sums, sum)
		require.NoError(t, m.Engine.Close())
	}
	require.Equal(t, []uint32{sums[0], sums[0], sums[0]}, sums)
	_, err := OpenStack(t.Context(), dir, Engines[0].Kind, 2, Tiny.Pages)
	require.ErrorContains(t, err, "made otherwise")
}

func TestMedian(t *testing.T) {
	require.Equal(t, 2.0, Median([]float64{9, 1, 2}))
}
