package native

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/walredo"
)

// gistTestPage is a leaf with two tuples that waits for its right half's downlink.
func gistTestPage(t testing.TB) bufpage.Page {
	p := bufpage.Page(make([]byte, pg.BlockSize))
	p.Init(gistOpaqueSize)
	o := gistOpaque(p[pg.BlockSize-gistOpaqueSize:])
	o.setFlags(gistLeaf | gistFollowRight | gistHasGarbage)
	o.setNSN(0x900)
	le.PutUint16(o[gistMark:], gistPageID)
	p.SetLSN(0x1000)
	require.NoError(t, addItemAt(p, leafTuple(1, 1, 1), 1))
	require.NoError(t, addItemAt(p, leafTuple(1, 2, 2), 2))
	return p
}

// imageRecord makes a record of version 17 whose one block reference is an image to be restored.
func imageRecord(r pg.Rmgr, info, id uint8, blkno uint32, main, image []byte) []byte {
	const hasImage, applyImage = 0x10, 0x02
	b := make([]byte, 24)
	b[16], b[17] = info, uint8(r)
	b = append(b, id, hasImage, 0, 0)
	b = le.AppendUint16(b, pg.BlockSize)
	b = append(b, 0, 0, applyImage)
	b = add32(b, testRel.Spc, testRel.DB, testRel.Rel, blkno)
	b = append(b, 255, byte(len(main)))
	b = append(append(b, image...), main...)
	le.PutUint32(b, uint32(len(b)))
	return b
}

// The image of a left half was made before its flag was cleared, so redo clears it then.
func TestGistLeftHalfFromImage(t *testing.T) {
	image := gistTestPage(t)
	for _, c := range []struct {
		op, id uint8
		main   []byte
		left   bool
	}{
		{0x00, 1, u16s(0, 1), true}, {0x00, 0, u16s(0, 1), false},
		{0x30, 0, make([]byte, 24), true}, {0x30, 1, make([]byte, 24), false},
		{0x10, 0, make([]byte, 8), false}, {0x60, 0, make([]byte, 10), false}, {0x60, 1, make([]byte, 10), false},
	} {
		got, err := redoOne(pg.V17, page.ForkMain, 4, nil, imageRecord(pg.RmGist, c.op, c.id, 4, c.main, image))
		require.NoError(t, err)
		want := append(bufpage.Page(nil), image...)
		want.SetLSN(0x2000)
		if c.left {
			o := gistOpaque(want[pg.BlockSize-gistOpaqueSize:])
			o.setNSN(0x2000)
			o.setFlags(gistLeaf | gistHasGarbage)
		}
		require.Equal(t, []byte(want), got, "%02X block %d", c.op, c.id)
	}
	_, err := redoOne(pg.V17, page.ForkMain, 4, nil, imageRecord(pg.RmGist, 0x00, 1, 4, u16s(0, 1), mapPage()))
	require.ErrorIs(t, err, walredo.ErrCorrupt, "the image is of no GiST page")
}

// A root that is split keeps its number and its place; a leaf's pages are linked one to the next.
func TestGistSplitOfRootAndLeaf(t *testing.T) {
	main := append(add32(nil, 77, 0, 0x900, 1), 1, 0, 3, 0, 1, 0, 0, 0)
	data := append(add32(nil, 1), leafTuple(1, 1, 1)...)
	special := func(block, first uint32) gistOpaque {
		got, err := redoOne(pg.V17, page.ForkMain, block, nil, buildRecord(pg.RmGist, 0x30, 7, main,
			testBlock{id: 1, blkno: first, willInit: true, data: data}, testBlock{id: 2, blkno: 8, willInit: true, data: data},
			testBlock{id: 3, blkno: 9, willInit: true, data: data}))
		require.NoError(t, err)
		require.Equal(t, 1, bufpage.Page(got).MaxOffset())
		return got[pg.BlockSize-gistOpaqueSize:]
	}
	nsn := add32(nil, 1, 0x900)
	for _, c := range []struct {
		block, first, right uint32
		flags               uint16
	}{
		{0, 0, gistNone, 0}, {8, 0, 9, gistLeaf}, {9, 0, 77, gistLeaf},
		{7, 7, 8, gistLeaf | gistFollowRight}, {8, 7, 9, gistLeaf | gistFollowRight}, {9, 7, 77, gistLeaf},
	} {
		want := append(add32(append([]byte(nil), nsn...), c.right), u16s(c.flags, gistPageID)...)
		require.Equal(t, want, []byte(special(c.block, c.first)), "block %d of a split of %d", c.block, c.first)
	}
}

func TestGistRefusesWhatDoesNotFit(t *testing.T) {
	one := leafTuple(3, 3, 3)
	split := append(add32(nil, 77, 0, 0, 0), 1, 0, 1, 0, 1, 0, 0, 0)
	for _, c := range []struct {
		name     string
		info, id uint8
		page     bufpage.Page
		main     []byte
		data     []byte
	}{
		{"update cut short", 0x00, 0, gistTestPage(t), u16s(1), one},
		{"update of fewer numbers than said", 0x00, 0, gistTestPage(t), u16s(2, 0), u16s(1)},
		{"update of what is not there", 0x00, 0, gistTestPage(t), u16s(1, 0), u16s(3)},
		{"update with a tuple too few", 0x00, 0, gistTestPage(t), u16s(0, 2), one},
		{"update with a tuple too many", 0x00, 0, gistTestPage(t), u16s(0, 0), one},
		{"replacement with two tuples", 0x00, 0, gistTestPage(t), u16s(1, 1), append(append(u16s(1), one...), one...)},
		{"replacement of what is not there", 0x00, 0, gistTestPage(t), u16s(1, 1), append(u16s(7), one...)},
		{"update of block 2", 0x00, 2, gistTestPage(t), u16s(0, 0), nil},
		{"update of a heap page", 0x00, 0, mapPage(), u16s(0, 0), nil},
		{"left half that is a heap page", 0x00, 1, mapPage(), u16s(0, 0), nil},
		{"delete with fewer numbers than said", 0x10, 0, gistTestPage(t), append(add32(nil, 7), 9, 0, 0, 0), nil},
		{"delete of what is not there", 0x10, 0, gistTestPage(t), append(add32(nil, 7), 2, 0, 0, 0, 8, 0, 9, 0), nil},
		{"delete on block 1", 0x10, 1, gistTestPage(t), append(add32(nil, 7), 0, 0, 0, 0), nil},
		{"split cut short", 0x30, 1, gistTestPage(t), split[:20], append(add32(nil, 1), one...)},
		{"split of more pages than said", 0x30, 2, gistTestPage(t), split, append(add32(nil, 1), one...)},
		{"split without tuples", 0x30, 1, gistTestPage(t), split, nil},
		{"split with a huge number of tuples", 0x30, 1, gistTestPage(t), split, add32(nil, 0xFFFFFFFF)},
		{"split with half a tuple", 0x30, 1, gistTestPage(t), split, append(add32(nil, 1), one[:9]...)},
		{"deletion of a page with tuples", 0x60, 0, gistTestPage(t), make([]byte, 10), nil},
		{"deletion of a downlink that is not there", 0x60, 1, gistTestPage(t), make([]byte, 10), nil},
		{"deletion cut short", 0x60, 1, gistTestPage(t), make([]byte, 9), nil},
		{"deletion of a third page", 0x60, 2, gistTestPage(t), make([]byte, 10), nil},
	} {
		for _, v := range []pg.Version{pg.V15, pg.V17} {
			_, err := redoOne(v, page.ForkMain, 4, c.page, buildRecord(pg.RmGist, c.info, 7, c.main, testBlock{id: c.id, blkno: 4, data: c.data}))
			require.ErrorIs(t, err, walredo.ErrCorrupt, "%s, version %d", c.name, v)
			require.NotErrorIs(t, err, errBug, c.name)
		}
	}
}
