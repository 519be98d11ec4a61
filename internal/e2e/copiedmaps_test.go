package e2e

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/inspect/clustercheck"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// requireSameAsRunning compares with a server that has run, not recovered. Beyond what clustercheck calls
// lawful, one thing may differ there: visibility maps of databases made with strategy wal_log. PostgreSQL
// logs their pages as ordinary ones (RelationCopyStorageUsingBuffer), of which the whole map counts as hole,
// so the WAL has no bit of them and every server that replays it has none either. Ours must not have a bit
// there that the running server has not. The comparison with recovered servers allows nothing of this.
func requireSameAsRunning(t *testing.T, tl *strata.Timeline, w worked) {
	t.Helper()
	lsn := tl.LastRecordLSN()
	const all = 100_000
	r, err := clustercheck.Run(t.Context(), clustercheck.Options{Reader: tl, LSN: lsn, Version: w.version,
		SystemID: tl.Info().SystemID, Dir: w.server.Data, MaxFirst: all})
	require.NoError(t, err)
	t.Logf("at %s: %d pages and %d of SLRUs compared, lawful: %v; %d map pages of databases copied through WAL",
		lsn, r.Pages, r.SLRU, r.Lawful, r.Different)
	require.Len(t, r.First, int(r.Different))
	for _, d := range r.First {
		requireCopiedMap(t, tl, w, d)
	}
}

var mapPage = regexp.MustCompile(`^relation ([0-9]+/[0-9]+/[0-9]+)_vm block ([0-9]+)$`)

func requireCopiedMap(t *testing.T, tl *strata.Timeline, w worked, d clustercheck.Difference) {
	t.Helper()
	m := mapPage.FindStringSubmatch(d.What)
	require.NotNil(t, m, "%s", d)
	rel := page.RelTag{Fork: page.ForkVM}
	var block uint32
	_, err := fmt.Sscanf(m[1]+" "+m[2], "%d/%d/%d %d", &rel.Spc, &rel.DB, &rel.Rel, &block)
	require.NoError(t, err)
	// The first databases that a user makes come after those of initdb.
	const firstNormalOid = 16384
	require.GreaterOrEqual(t, rel.DB, uint32(firstNormalOid), "%s", d)
	_, err = tl.Snapshot(tl.Info().InitialLSN).Relations(t.Context(), rel.Spc, rel.DB)
	require.ErrorIs(t, err, page.ErrNotFound, "%s: the database was there at the import", d)

	ours, err := tl.Page(t.Context(), rel, block, tl.LastRecordLSN())
	require.NoError(t, err)
	theirs := blockOnDisk(t, w, rel, block)
	const headerSize = 24
	for at := headerSize; at < pg.BlockSize; at += 8 {
		extra := binary.LittleEndian.Uint64(ours[at:]) &^ binary.LittleEndian.Uint64(theirs[at:])
		require.Zero(t, extra, "%s: ours has bits that the server has not, at byte %d", d, at)
	}
}

// blockOnDisk reads a block of a relation's first file.
func blockOnDisk(t *testing.T, w worked, rel page.RelTag, block uint32) []byte {
	t.Helper()
	dir := filepath.Join(w.server.Data, "base", fmt.Sprint(rel.DB))
	if rel.Spc != pg.DefaultTablespace {
		dir = filepath.Join(w.server.Data, "pg_tblspc", fmt.Sprint(rel.Spc),
			fmt.Sprintf("PG_%d_%d", w.version, w.version.CatalogVersion()), fmt.Sprint(rel.DB))
	}
	b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d_%s", rel.Rel, rel.Fork)))
	require.NoError(t, err)
	at := int(block) * pg.BlockSize
	require.GreaterOrEqual(t, len(b), at+pg.BlockSize)
	return b[at : at+pg.BlockSize]
}
