package native

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/walredo"
)

func brinTestPage(kind uint16, items ...[]byte) bufpage.Page {
	p := bufpage.Page(make([]byte, pg.BlockSize))
	brinInit(p, kind)
	for _, item := range items {
		if _, err := p.AddItem(item, 0, 0); err != nil {
			panic(err)
		}
	}
	p.SetLSN(0x1000)
	return p
}

func u32s(n ...uint32) (b []byte) {
	for _, v := range n {
		b = le.AppendUint32(b, v)
	}
	return b
}

// Places in the range map, and what refuses to be one.
func TestBrinRangeMap(t *testing.T) {
	for heapBlock, want := range map[uint32]int{0: 0, 127: 0, 128: 1, 128 * 1359: 1359, 128 * 1360: 0, 128*1361 + 5: 1} {
		main := append(u32s(heapBlock, 128), 3, 0)
		got, err := redoOne(pg.V15, page.ForkMain, 1, brinTestPage(brinRevmap),
			buildRecord(pg.RmBRIN, brinInsert, 7, main, testBlock{blkno: 70000, data: make([]byte, 24)}, testBlock{id: 1, blkno: 1}))
		require.NoError(t, err)
		at := bufpage.HeaderSize + 6*want
		require.Equal(t, tid(70000, 3), got[at:at+6])
		bufpage.Page(got).SetLSN(0x1000)

		got, err = redoOne(pg.V15, page.ForkMain, 1, got, buildRecord(pg.RmBRIN, brinDesummarize, 7, append(u32s(128, heapBlock), 3, 0), testBlock{blkno: 1}))
		require.NoError(t, err)
		require.Equal(t, []byte{0xFF, 0xFF, 0xFF, 0xFF, 0, 0}, got[at:at+6], "an invalid TID")
	}
	regular := testBlock{blkno: 5, data: make([]byte, 24)}
	for name, c := range map[string]struct {
		base   bufpage.Page
		record []byte
	}{
		"no regular page":  {brinTestPage(brinRevmap), buildRecord(pg.RmBRIN, brinInsert, 7, append(u32s(0, 128), 3, 0), testBlock{id: 1, blkno: 1})},
		"empty ranges":     {brinTestPage(brinRevmap), buildRecord(pg.RmBRIN, brinInsert, 7, append(u32s(0, 0), 3, 0), regular, testBlock{id: 1, blkno: 1})},
		"not the map":      {brinTestPage(brinRegular), buildRecord(pg.RmBRIN, brinInsert, 7, append(u32s(0, 1), 3, 0), regular, testBlock{id: 1, blkno: 1})},
		"no BRIN page":     {ginTestPage(0), buildRecord(pg.RmBRIN, brinInsert, 7, append(u32s(0, 1), 3, 0), regular, testBlock{id: 1, blkno: 1})},
		"short":            {brinTestPage(brinRevmap), buildRecord(pg.RmBRIN, brinInsert, 7, u32s(0, 1), regular, testBlock{id: 1, blkno: 1})},
		"short update":     {brinTestPage(brinRevmap), buildRecord(pg.RmBRIN, brinUpdate, 7, u32s(0, 1, 2), regular, testBlock{id: 1, blkno: 1})},
		"unknown block":    {brinTestPage(brinRevmap), buildRecord(pg.RmBRIN, brinInsert, 7, append(u32s(0, 1), 3, 0), regular, testBlock{id: 2, blkno: 1})},
		"metapage extends": {brinTestPage(brinRegular), buildRecord(pg.RmBRIN, brinRevmapExtend, 7, u32s(1), testBlock{blkno: 1})},
	} {
		_, err := redoOne(pg.V15, page.ForkMain, 1, c.base, c.record)
		require.ErrorIs(t, err, walredo.ErrCorrupt, name)
	}
}

// A summary takes the item number that the record says, which must be free or the next.
func TestBrinSummaries(t *testing.T) {
	base := brinTestPage(brinRegular, make([]byte, 24), make([]byte, 40), make([]byte, 24))
	insert := func(base []byte, info uint8, n uint16, size int, init bool) (bufpage.Page, error) {
		return redoOne(pg.V15, page.ForkMain, 5, base, buildRecord(pg.RmBRIN, info, 7, le.AppendUint16(u32s(0, 1), n),
			testBlock{blkno: 5, data: make([]byte, size), willInit: init}, testBlock{id: 1, blkno: 1}))
	}
	removed, err := redoOne(pg.V15, page.ForkMain, 5, base, buildRecord(pg.RmBRIN, brinDesummarize, 7, append(u32s(1, 0), 2, 0), testBlock{id: 1, blkno: 5}))
	require.NoError(t, err)
	require.Equal(t, 3, bufpage.Page(removed).MaxOffset(), "others keep their numbers")
	require.False(t, bufpage.Page(removed).ItemID(2).Used())
	bufpage.Page(removed).SetLSN(0x1000)
	got, err := insert(removed, brinInsert, 2, 64, false)
	require.NoError(t, err)
	require.Equal(t, []int{3, 64}, []int{got.MaxOffset(), got.ItemID(2).Len()})
	got, err = insert(base, brinInsert, 4, 64, false)
	require.NoError(t, err)
	require.Equal(t, 4, got.MaxOffset())
	got, err = insert(nil, brinInsert|brinInitPage, 1, 64, true)
	require.NoError(t, err)
	require.Equal(t, 1, got.MaxOffset())
	for name, f := range map[string]func() (bufpage.Page, error){
		"number in use":    func() (bufpage.Page, error) { return insert(base, brinInsert, 3, 64, false) },
		"a gap":            func() (bufpage.Page, error) { return insert(base, brinInsert, 5, 64, false) },
		"number 0":         func() (bufpage.Page, error) { return insert(base, brinInsert, 0, 64, false) },
		"no room":          func() (bufpage.Page, error) { return insert(base, brinInsert, 4, 8100, false) },
		"nothing to add":   func() (bufpage.Page, error) { return insert(base, brinInsert, 4, 0, false) },
		"flag without bit": func() (bufpage.Page, error) { return insert(base, brinInsert|brinInitPage, 1, 64, false) },
		"bit without flag": func() (bufpage.Page, error) { return insert(nil, brinInsert, 1, 64, true) },
	} {
		_, err := f()
		require.ErrorIs(t, err, walredo.ErrCorrupt, name)
	}
}

func TestGenericPieces(t *testing.T) {
	base := brinTestPage(brinRegular, make([]byte, 24))
	for i := base.Lower(); i < base.Upper(); i++ {
		base[i] = 0xEE
	}
	redo := func(data []byte) (bufpage.Page, error) {
		return redoOne(pg.V15, page.ForkMain, 5, base, buildRecord(pg.RmGeneric, 0, 7, nil, testBlock{blkno: 5, data: data}))
	}
	got, err := redo([]byte{0xF0, 0x1F, 2, 0, 8, 9, 0xFF, 0x1F, 1, 0, 0x77, 12, 0, 2, 0, 40, 0})
	require.NoError(t, err)
	require.Equal(t, []byte{8, 9}, []byte(got[0x1FF0:0x1FF2]))
	require.Equal(t, byte(0x77), got[8191])
	require.Equal(t, 40, got.Lower(), "a piece of the header")
	require.Equal(t, make([]byte, got.Upper()-40), []byte(got[40:got.Upper()]), "free space is zeros")
	require.Equal(t, page.LSN(0x2000), got.LSN())
	for name, data := range map[string][]byte{
		"cut head":            {1, 0, 1},
		"cut piece":           {1, 0, 2, 0, 5},
		"behind the page":     {0xFF, 0x1F, 2, 0, 1, 2},
		"lower above upper":   {12, 0, 4, 0, 0, 16, 0, 8},
		"lower in the header": {12, 0, 2, 0, 8, 0},
		"upper out of page":   {14, 0, 2, 0, 0, 0xFF},
	} {
		_, err := redo(data)
		require.ErrorIs(t, err, walredo.ErrCorrupt, name)
	}
}
