package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo/pgworker"
	"github.com/stratapg/strata/walredo/walredotest/processes"
)

// TestWaysOfRedo takes one store through redo in Go alone, a stock server's redo alone, and both with a comparison of
// every page: each time the whole cluster is the server's, and a backup boots and finds what the server found.
func TestWaysOfRedo(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	v := pg.V15
	worker := serverWorker(t, v)
	var found []string
	w := work(t, v, testkit.Work{Transactions: testkit.Size(200, 200, 2000), Seed: 7, LeaveOpen: true}, nil, func(p *testkit.Postgres) {
		p.GinWork()
		p.GenericWork()
		p.BrinWork()
		found = ginIndexes.search(t, p)
	})
	store := filepath.Join(t.TempDir(), "store")
	t.Run("ingest", func(t *testing.T) { importAndIngest(t, store, w.base, w.wal, 16*mib) })
	for _, o := range []strata.RedoOptions{
		{Mode: strata.RedoNative},
		{Mode: strata.RedoPool, Worker: worker, Processes: 2},
		{Mode: strata.RedoVerify, Worker: worker, Processes: 2},
	} {
		t.Run(o.Mode.String(), func(t *testing.T) {
			e, err := strata.Open(t.Context(), strata.Options{Dir: store, ReadOnly: true, Redo: o})
			require.NoError(t, err)
			defer e.Close()
			tenant, err := e.DefaultTenant(t.Context())
			require.NoError(t, err)
			tl, err := tenant.Timeline(t.Context(), timelineName)
			require.NoError(t, err)
			requireSameCluster(t, tl, v, w.server.Data, tl.LastRecordLSN(), tl.Info().OldestLSN)
			back := backupAt(t, tl, v, tl.LastRecordLSN())
			back.Start()
			require.Equal(t, found, ginIndexes.search(t, back))
			back.Stop()
			requireRedoneBy(t, e.RedoMetrics(), o.Mode)
		})
	}
}

// requireRedoneBy demands that the pages came from where the mode says.
func requireRedoneBy(t *testing.T, m strata.RedoMetrics, mode strata.RedoMode) {
	t.Logf("%+v", m)
	require.Zero(t, m.Pool.Failed+m.Pool.Refused+m.Pool.Timeouts+m.Pool.Crashes+m.Pool.Nonsense)
	require.Zero(t, m.Choice.Disagreements)
	const least = 1000
	switch mode {
	case strata.RedoNative:
		require.Zero(t, m.Pool.Requests)
	case strata.RedoPool:
		require.Greater(t, m.Pool.Pages, int64(least))
		require.Zero(t, m.Choice.Compared)
	case strata.RedoVerify:
		require.Greater(t, m.Choice.Compared, int64(least))
	}
}

// serverWorker gives the command line that makes a stock server a redo worker, with this binary as what starts it.
func serverWorker(t *testing.T, v pg.Version) string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	s := processes.PGServer(t, v)
	line := fmt.Sprintf("%s %s --pg {pg} --checksums={checksums} --report-failures --bin %s --extension %s --scratch %s",
		exe, pgworker.Subcommand, s.Bin, s.Extension, s.Scratch)
	if s.User != "" {
		line += " --user " + s.User
	}
	return line
}
