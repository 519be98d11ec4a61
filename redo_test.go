package strata_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/walredo/native"
)

func TestRedoOptionsReportEveryFault(t *testing.T) {
	err := strata.Options{Dir: "x", Redoer: native.New(), Redo: strata.RedoOptions{
		Mode: strata.RedoPool, Processes: 5000, MaxRequests: -1, MaxBytes: -1, RequestTimeout: -time.Second, Attempts: -1, StallTimeout: -1, IdleTimeout: -1,
	}}.Validate()
	for _, want := range []string{"Worker is empty", "Processes is 5000", "MaxRequests is -1", "MaxBytes is -1", "RequestTimeout is -1000000000",
		"Attempts is -1", "StallTimeout is -1", "IdleTimeout is -1", "exclude each other"} {
		require.ErrorContains(t, err, want)
	}
	require.ErrorContains(t, strata.Options{Dir: "x", Redo: strata.RedoOptions{Mode: 9}}.Validate(), "Mode is 9")
	require.ErrorContains(t, strata.Options{Dir: "x", Redo: strata.RedoOptions{Worker: "/bin/true"}}.Validate(), "has no processes")
	require.ErrorContains(t, strata.Options{Dir: "x", Redo: strata.RedoOptions{Mode: strata.RedoVerify, Worker: "postgres --wal-redo"}}.Validate(), "full path")
	require.NoError(t, strata.Options{Dir: "x", Redo: strata.RedoOptions{Mode: strata.RedoVerify, Worker: "/bin/postgres --wal-redo"}}.Validate())
}

func TestRedoModesAsText(t *testing.T) {
	for _, m := range []strata.RedoMode{strata.RedoNative, strata.RedoNativeFirst, strata.RedoPool, strata.RedoVerify} {
		b, err := m.MarshalText()
		require.NoError(t, err)
		var back strata.RedoMode
		require.NoError(t, back.UnmarshalText(b))
		require.Equal(t, m, back)
	}
	var m strata.RedoMode
	require.ErrorContains(t, m.UnmarshalText([]byte("both")), "native-first")
	require.Equal(t, "RedoMode(77)", strata.RedoMode(77).String())
}

// What redo processes do is measured where there are any, and only there.
func TestRedoMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	e := memory(t, strata.Options{Registerer: reg, Redo: strata.RedoOptions{Mode: strata.RedoPool, Worker: "/bin/true"}})
	found, err := reg.Gather()
	require.NoError(t, err)
	names := map[string]int{}
	for _, f := range found {
		names[f.GetName()] = len(f.Metric)
	}
	require.Equal(t, 5, names["strata_redo_pool_results_total"])
	require.Equal(t, 4, names["strata_redo_process_ends_total"])
	require.Equal(t, 1, names["strata_redo_pool_seconds"])
	require.Zero(t, e.RedoMetrics().Pool.Launches, "nothing is started before it is needed")
	require.NoError(t, e.Close())
	found, err = reg.Gather()
	require.NoError(t, err)
	require.Empty(t, found)

	plain := prometheus.NewPedanticRegistry()
	memory(t, strata.Options{Registerer: plain})
	found, err = plain.Gather()
	require.NoError(t, err)
	for _, f := range found {
		require.NotContains(t, f.GetName(), "redo_process")
	}
	_, err = strata.Open(context.Background(), strata.Options{Dir: t.TempDir(), CreateIfMissing: true, Redo: strata.RedoOptions{Mode: strata.RedoPool}})
	require.ErrorContains(t, err, "Worker is empty")
}
