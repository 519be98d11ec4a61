package native

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
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

// A Neon compute of 15 ran pgbench; its records fit the pages that they make.
func TestRecordsOfNeons15(t *testing.T) {
	const tuples, pages = 100000, 1189 // of pgbench_accounts, as far as the segment goes
	base := t.TempDir()
	testkit.UntarFixture(t, base, "real-wal-pg15/initdb.tar.zst")
	segment := testkit.FixtureZstd(t, "real-wal-pg15/000000010000000000000001.zst")
	r := newReplayer(t, pg.V15, base)
	r.flavour = pg.Neon
	end := r.run(segment, wal.DecoderOptions{Version: pg.V15, Start: 0x14AEC08, SegSize: 16 << 20})
	require.Equal(t, page.LSN(0x1FFFF98), end)
	r.report()
	require.Zero(t, r.failed)
	require.Empty(t, r.unsupported)
	accounts := page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 16396}
	next := uint32(1)
	for n := range uint32(pages) {
		p := bufpage.Page(r.pages[accounts.Block(n)])
		for i := 1; i <= p.MaxOffset(); i++ {
			item, err := p.Item(i)
			require.NoError(t, err)
			require.Equal(t, next, le.Uint32(item[24:]), "aid of tuple %d of block %d", i, n)
			next++
		}
	}
	t.Logf("%d accounts", next-1)
	require.Less(t, next, uint32(tuples))
}
