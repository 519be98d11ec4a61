package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
)

// midFlight compares the timeline at random record ends, and at the end of the WAL, with a server that
// PostgreSQL recovered to there.
func midFlight(t *testing.T, w worked, tl *strata.Timeline) {
	n := testkit.Size(1, 2, 20)
	ends := testkit.RecordEnds(t, w.version, w.base, w.wal)
	require.Equal(t, tl.LastRecordLSN(), ends[len(ends)-1])
	rnd := testkit.Rand(t, uint64(w.version))
	// The end of the WAL first; it is no target that PostgreSQL could stop at.
	lsns := []page.LSN{ends[len(ends)-1]}
	for range n {
		lsns = append(lsns, ends[rnd.IntN(len(ends)-1)])
	}
	for i, lsn := range lsns {
		emptySpaces(t, w)
		r := testkit.Recovery{Version: w.version, Base: w.base, WAL: w.wal, Until: lsn}
		if i == 0 {
			r.Until = page.InvalidLSN
		}
		dir := r.DataDir(t)
		requireSameCluster(t, tl, w.version, dir, lsn, 0)
		require.NoError(t, os.RemoveAll(dir))
	}
}

// emptySpaces empties the tablespaces' folders: a recovery makes its own files at the path that the WAL
// names. The first server, which made them before, is no longer needed.
func emptySpaces(t *testing.T, w worked) {
	t.Helper()
	for _, name := range testkit.Spaces {
		dir := filepath.Join(w.server.Dir, name)
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.Mkdir(dir, 0o700))
		testkit.Give(t, dir)
	}
}
