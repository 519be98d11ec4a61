package e2e

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/inspect/clustercheck"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

const mib = 1 << 20

// timelineName is the timeline's name in every store here.
const timelineName = "main"

// openStore opens a store, made if it is not there; it is closed at the end of the test.
func openStore(t *testing.T, o strata.Options) *strata.Tenant {
	t.Helper()
	o.CreateIfMissing = !o.ReadOnly
	e, err := strata.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	tenant, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	return tenant
}

// importAndIngest makes a store from a data directory and WAL, and flushes it.
func importAndIngest(t *testing.T, store, pgdata, wal string, checkpointDistance int64) *strata.Timeline {
	t.Helper()
	tenant := openStore(t, strata.Options{Dir: store, CheckpointDistance: checkpointDistance})
	tl, _, err := tenant.Import(t.Context(), strata.ImportOptions{PGData: pgdata, Name: timelineName})
	require.NoError(t, err)
	r, err := tl.Ingest(t.Context(), strata.IngestOptions{Dir: wal})
	require.NoError(t, err)
	require.Positive(t, r.Records)
	require.NoError(t, tl.Flush(t.Context()))
	require.Equal(t, tl.LastRecordLSN(), tl.DiskConsistentLSN())
	t.Logf("ingested %d records to %s, in %d layers", r.Records, r.LSN, len(tl.Layers()))
	return tl
}

// compareCluster compares a stopped data directory with a timeline at lsn. first is 0 for a server that has
// recovered: it has no more bits in the maps of copied databases than we do.
func compareCluster(ctx context.Context, tl *strata.Timeline, v pg.Version, dir string, lsn, first page.LSN) (clustercheck.Report, error) {
	return clustercheck.Run(ctx, clustercheck.Options{Reader: tl, LSN: lsn, First: first, Version: v, SystemID: tl.Info().SystemID, Dir: dir})
}

// requireSameCluster demands that nothing differs but what may.
func requireSameCluster(t *testing.T, tl *strata.Timeline, v pg.Version, dir string, lsn, first page.LSN) {
	t.Helper()
	r, err := compareCluster(t.Context(), tl, v, dir, lsn, first)
	require.NoError(t, err)
	t.Logf("at %s: %d pages and %d of SLRUs compared, %d different, lawful: %v", lsn, r.Pages, r.SLRU, r.Different, r.Lawful)
	require.Zero(t, r.Different, "%v", r.First)
	const least = 1000
	require.Greater(t, r.Pages, int64(least))
	require.Positive(t, r.SLRU)
}
