package native

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// TestPagesThatAreNewer: a page of a base backup may be newer than a record of it. One that ends at or below the page's LSN leaves it as it
// is.
func TestPagesThatAreNewer(t *testing.T) {
	change := []byte{10, 0, 2, 0, 4, 0} // pd_flags
	for lsn, skipped := range map[page.LSN]bool{0x1FF8: false, 0x2000: true, 0x2008: true} {
		p := bufpage.Page(make([]byte, pg.BlockSize))
		p.Init(0)
		p.SetLSN(lsn)
		record := buildRecord(pg.RmGeneric, 0, 0, nil, testBlock{blkno: 3, data: change})
		got, err := redoOne(pg.V17, page.ForkMain, 3, bytes.Clone(p), record)
		require.NoError(t, err)
		require.Equal(t, skipped, bytes.Equal(p, got), "page at %s", lsn)
		if !skipped {
			require.Equal(t, page.LSN(0x2000), bufpage.Page(got).LSN())
		}
	}
}
