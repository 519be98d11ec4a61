package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction/legacy"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/scenario"
	"github.com/stratapg/strata/simulator/trace"
)

// What a real store took in is replayed: each record with its bytes, on as many keys, in the order of LSNs.
func TestTraceIsReplayed(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	work := t.TempDir()
	store, cluster, wal, file := filepath.Join(work, "store"), filepath.Join(work, "cluster"), filepath.Join(work, "wal"), filepath.Join(work, "trace")
	s, err := sample.Open("../../testdata/sample")
	require.NoError(t, err)
	require.NoError(t, s.ExtractCluster(cluster))
	require.NoError(t, s.ExtractWAL(wal))
	must(t, "import", "--store", store, "--pgdata", cluster)
	must(t, "ingest", "--store", store, "--wal", wal, "--checkpoint-distance", "1MiB")
	require.Regexp(t, `^trace: records=\d+ bytes=\d+ regions=\d+ preload=true$`,
		lastLine(must(t, "layers", "export-trace", "--store", store, "--output", file)))

	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	tr, err := trace.Read(f)
	require.NoError(t, err)
	require.NotEmpty(t, tr.Records)
	require.Less(t, tr.From, tr.To)

	r, err := sim.Run(t.Context(), scenario.Trace(tr), legacy.New(), sim.Observer{})
	require.NoError(t, err)
	require.EqualValues(t, len(tr.Records), r.Records)
	require.EqualValues(t, tr.Bytes, r.Written["flush"], "what is flushed is what was taken in")
	require.Positive(t, r.Reads)
}

func TestTraceNeedsAFile(t *testing.T) {
	code, _, errs := command(t, "layers", "export-trace")
	require.Equal(t, exitUsage, code, errs)
}
