package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/mask"
)

// neonFixture is a cluster, its WAL and the pages that Neon's page service answered; README there.
const neonFixture = "neon-pg17"

// TestSameWorkAsNeon imports and ingests what Neon was given, and compares every page that it answered and
// the final cluster.
func TestSameWorkAsNeon(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	dir := t.TempDir()
	base, final, wal := filepath.Join(dir, "base"), filepath.Join(dir, "final"), filepath.Join(dir, "wal")
	unpackNeonInput(t, base, wal)
	testkit.UntarFixture(t, final, neonFixture+"/final-pgdata.tar.zst")

	tl := importAndIngest(t, filepath.Join(dir, "store"), base, wal, mib)
	const start, end, records = "0/2377B20", "0/2E770A0", 138_310
	require.Equal(t, start, tl.Info().InitialLSN.String())
	require.Equal(t, end, tl.LastRecordLSN().String())
	require.Len(t, testkit.RecordEnds(t, pg.V17, base, wal), records)
	for _, lsn := range []string{"0/2432748", "0/25E23A8", end} {
		t.Run(strings.ReplaceAll(lsn, "/", "-"), func(t *testing.T) { compareAnswers(t, tl, lsn) })
	}
	t.Run("final cluster", func(t *testing.T) {
		requireSameCluster(t, tl, pg.V17, final, tl.LastRecordLSN(), 0)
	})
}

// unpackNeonInput gives the cluster and WAL that Neon was given.
func unpackNeonInput(t *testing.T, base, wal string) {
	t.Helper()
	testkit.UntarFixture(t, base, neonFixture+"/base-pgdata.tar.zst")
	require.NoError(t, os.MkdirAll(filepath.Join(base, "pg_wal"), 0o700))
	require.NoError(t, os.Mkdir(wal, 0o700))
	const segment = "000000010000000000000002"
	require.NoError(t, os.WriteFile(filepath.Join(wal, segment), testkit.FixtureZstd(t, neonFixture+"/"+segment+".zst"), 0o600))
}

// compareAnswers compares every page that Neon answered at an LSN.
func compareAnswers(t *testing.T, tl *strata.Timeline, at string) {
	lsn, err := page.ParseLSN(at)
	require.NoError(t, err)
	name := neonFixture + "/main-" + strings.ReplaceAll(at, "/", "-")
	list, err := os.ReadFile(testkit.Fixture(t, name+".list"))
	require.NoError(t, err)
	pages := testkit.FixtureZstd(t, name+".pages.zst")
	compared := 0
	for line := range bytes.Lines(list) {
		var rel page.RelTag
		var blocks uint32
		if _, err := fmt.Sscanf(string(line), "%d/%d/%d %d", &rel.Spc, &rel.DB, &rel.Rel, &blocks); err != nil {
			t.Fatalf("%s.list: %q: %v", name, line, err)
		}
		require.GreaterOrEqual(t, len(pages), int(blocks)*pg.BlockSize, "%s", rel)
		size, err := tl.Cluster(lsn).RelSize(t.Context(), rel)
		require.NoError(t, err)
		require.Equal(t, blocks, size, "blocks of %s", rel)
		for b := range blocks {
			theirs := pages[:pg.BlockSize]
			pages = pages[pg.BlockSize:]
			ours, err := tl.Page(t.Context(), rel, b, lsn)
			require.NoError(t, err)
			at := mask.Difference(ours, theirs, mask.KindOf(theirs, rel.Fork), b)
			require.Equal(t, -1, at, "%s block %d at %s differs from byte %d on", rel, b, lsn, at)
			compared++
		}
	}
	require.Empty(t, pages, "pages that the list does not name")
	t.Logf("%d pages equal to Neon's", compared)
	const least = 1900
	require.Greater(t, compared, least)
}
