package native

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
)

// A stock server of 17 ran pgbench over a cluster; our pages at the end are those of its files.
func TestClusterOf17AfterPgbench(t *testing.T) {
	base, final := t.TempDir(), t.TempDir()
	testkit.UntarFixture(t, base, "neon-pg17/base-pgdata.tar.zst")
	testkit.UntarFixture(t, final, "neon-pg17/final-pgdata.tar.zst")
	segment := testkit.FixtureZstd(t, "neon-pg17/000000010000000000000002.zst")
	r := newReplayer(t, pg.V17, base)
	r.checksums = true
	end := r.run(segment, wal.DecoderOptions{Version: pg.V17, Start: 0x2377B20, SegSize: 16 << 20})
	require.Equal(t, page.LSN(0x2E770A0), end)
	r.report()
	compared, different, gone := r.compareWith(final)
	t.Logf("compared=%d different=%d gone=%d", compared, different, gone)
	require.Zero(t, r.failed)
	require.Empty(t, r.unsupported)
	require.Zero(t, different)
	require.Greater(t, compared, 2000)
}
