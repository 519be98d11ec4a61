package workload

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/walredo/walredotest/processes"
)

func TestMain(m *testing.M) {
	processes.ActAsWorker()
	os.Exit(m.Run())
}

// underRace are the workloads that the race detector sees.
var underRace = regexp.MustCompile(`^(RandomPage/uring|L0Stack/std.*pages=|SequentialScan/std|MaxThroughput/tenants|CompactReads/small|Ingest/direct-rw/8KiB-seq|` +
	`Redo/.*/short|LayerMap|UploadQueue|BackupStorm/clients=8)`)

// TestAllOnce does each workload in its tiny form: twice prepared it computes the same, and each round gives all metrics.
func TestAllOnce(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	f := Folders{Sample: filepath.Join("..", "..", "testdata", "sample"), Redoer: exe}
	if dir := os.Getenv("STRATA_FIXTURES"); dir != "" {
		f.Fixtures = dir
	}
	seen := map[string]bool{}
	all := f.All(Tiny)
	if testkit.UnderRace { // it sees one of each kind
		all = slices.DeleteFunc(all, func(w Workload) bool { return !underRace.MatchString(w.Name) })
	}
	sums := map[string]uint32{}
	for _, w := range all {
		require.False(t, seen[w.Name], w.Name)
		seen[w.Name] = true
		began := time.Now()
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
		sums[w.Name] = j.Check
		t.Logf("%s: checksum %08x, %s", w.Name, j.Check, time.Since(began).Round(time.Millisecond))
	}
	require.Len(t, seen, len(all))
	require.NotZero(t, sums["Redo/native/short/clients=1"])
	require.Equal(t, sums["Redo/native/short/clients=1"], sums["Redo/pool/short/clients=2"], "the same page, in a process too")
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
