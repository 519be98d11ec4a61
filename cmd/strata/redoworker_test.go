package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/pool"
	"github.com/stratapg/strata/walredo/walredotest"
)

// TestMain lets this test binary be the program that redo pools start.
// childVariable, in the environment, has the test's program be strata itself.
const childVariable = "STRATA_TEST_CHILD"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "redo-worker" || os.Getenv(childVariable) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// The subcommand as a pool starts it, in its sandbox.
func TestRedoWorkerInPool(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	p, err := pool.New(pool.Options{Worker: pool.Native(exe), Processes: 2})
	require.NoError(t, err)
	defer p.Close()
	ctx := context.Background()
	for name, req := range walredotest.Requests(t) {
		want, err := native.New().Redo(ctx, nil, req)
		require.NoError(t, err)
		for range 500 {
			got, err := p.Redo(ctx, nil, req)
			require.NoError(t, err, name)
			require.Equal(t, want, got, name)
		}
	}
	require.EqualValues(t, 1, p.Metrics().Launches)
}

// Redo of the sample's WAL in both ways, which have to agree about every page: where redo fails, a block counts
// as different. The WAL has hardly any images to compare with.
func TestVerifyRedoBoth(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	work := t.TempDir()
	cluster, wal := filepath.Join(work, "cluster"), filepath.Join(work, "wal")
	s, err := sample.Open("../../testdata/sample")
	require.NoError(t, err)
	require.NoError(t, s.ExtractCluster(cluster))
	require.NoError(t, s.ExtractWAL(wal))
	out := must(t, "verify", "redo", "--wal", wal, "--pg", "15", "--pgdata", cluster, "--redo", "both")
	require.Regexp(t, `^redo: records=\d{5,} blocks=\d+ equal=\d+ different=0 uncovered=0 primed=\d+ seconds=`, lastLine(out))
}

// Redo in both ways has one more name, that of the commands that read a store.
func TestVerifyIsBoth(t *testing.T) {
	require.Equal(t, modes["both"], modes[strata.RedoVerify.String()])
}

// Reads of a store with redo in processes give what redo in Go gives.
func TestReadRedo(t *testing.T) {
	work := t.TempDir()
	cluster, wal, store := filepath.Join(work, "cluster"), filepath.Join(work, "wal"), filepath.Join(work, "store")
	s, err := sample.Open("../../testdata/sample")
	require.NoError(t, err)
	require.NoError(t, s.ExtractCluster(cluster))
	require.NoError(t, s.ExtractWAL(wal))
	must(t, "import", "--store", store, "--pgdata", cluster)
	must(t, "ingest", "--store", store, "--wal", wal)
	page := []string{"page", "--store", store, "--rel", "1663/5/1259", "--block", "0", "--raw"}
	want := must(t, page...)
	require.Len(t, want, pg.BlockSize)
	for _, mode := range []string{"pool", "native-first", "verify"} {
		require.Equal(t, want, must(t, append(page, "--redo", mode)...), mode)
	}
	require.Equal(t, exitUsage, run(t.Context(), append(page, "--redo-worker", "/bin/true"), io.Discard, io.Discard))
	require.Equal(t, exitFailed, run(t.Context(), append(page, "--redo", "pool", "--redo-worker", "/bin/true"), io.Discard, io.Discard))
}
