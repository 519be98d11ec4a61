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

// TestImagesOfPagesThatAreNewer: the whole page that a record has takes the place of any, also of one that is newer, since that may be torn.
func TestImagesOfPagesThatAreNewer(t *testing.T) {
	const image, apply = 0x10, 0x02 // of the block's flags and of its image's, since 15
	whole := bufpage.Page(make([]byte, pg.BlockSize))
	whole.Init(0)
	whole.SetLSN(0x1000)
	whole[pg.BlockSize-1] = 7
	record := make([]byte, 24)
	record[17] = uint8(pg.RmGeneric)
	record = append(record, 0, image)
	for _, v := range []uint16{0, pg.BlockSize, 0} { // lengths of data and image, offset of the hole
		record = le.AppendUint16(record, v)
	}
	record = append(record, apply)
	for _, v := range []uint32{testRel.Spc, testRel.DB, testRel.Rel, 3} {
		record = le.AppendUint32(record, v)
	}
	record = append(record, whole...)
	le.PutUint32(record, uint32(len(record)))
	whole.SetLSN(0x2000) // the record's end
	for _, lsn := range []page.LSN{0x1FF8, 0x2000, 0x2008} {
		p := bufpage.Page(make([]byte, pg.BlockSize))
		p.Init(0)
		p.SetLSN(lsn)
		got, err := redoOne(pg.V17, page.ForkMain, 3, p, record)
		require.NoError(t, err)
		require.True(t, bytes.Equal(whole, got), "page at %s", lsn)
	}
}
