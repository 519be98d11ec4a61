package native

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/walredo"
)

// spgLeafTuple makes a leaf tuple of 24 bytes.
func spgLeafTuple(next uint16, key byte) []byte {
	b := add32(nil, 24<<2|spgLive)
	b = append(le.AppendUint16(b, next), u16s(0, 5, uint16(key))...)
	return append(b, make([]byte, 12)...)
}

// spgInnerTuple makes an inner tuple without prefix, of nodes whose downlinks lead nowhere.
func spgInnerTuple(nodes int) []byte {
	b := add32(nil, uint32(nodes)<<3)
	b = append(b, u16s(uint16(8+8*nodes), 0)...)
	for range nodes {
		b = append(b, u16s(0xFFFF, 0xFFFF, 0, 8)...)
	}
	return b
}

// spgTestPage has three leaf tuples in a chain, an inner tuple of two nodes and a placeholder. No server
// mixes them; redo does not mind.
func spgTestPage(t testing.TB) bufpage.Page {
	p := bufpage.Page(make([]byte, pg.BlockSize))
	o := spgInit(p, spgLeaf)
	holder := spgDeadTuple(spgPlaceholder)
	for i, item := range [][]byte{spgLeafTuple(2, 1), spgLeafTuple(3, 2), spgLeafTuple(0, 3), spgInnerTuple(2), holder[:]} {
		require.NoError(t, addItemAt(p, item, i+1))
	}
	require.NoError(t, o.add(spgPlaceholders, 1))
	p.SetLSN(0x1000)
	return p
}

// states gives the state of each tuple of a page, and the counts in its special space.
func spgStatesOf(t testing.TB, b []byte) (states []uint32, redirects, placeholders uint16) {
	p := bufpage.Page(b)
	for n := 1; n <= p.MaxOffset(); n++ {
		it, err := spgItem(p, n)
		require.NoError(t, err)
		states = append(states, it.state())
	}
	o := spgOpaque(p[pg.BlockSize-spgOpaqueSize:])
	return states, le.Uint16(o[spgRedirects:]), le.Uint16(o[spgPlaceholders:])
}

// spgState8 is the state in a record.
func spgState8(build byte) []byte { return append(add32(nil, 700), build, 0, 0, 0) }

// While an index is built nobody follows redirects, so none are left. Servers since version 13 build
// without such records; older WAL of a version that is read here has none either, but the format does.
func TestSPGistBuildLeavesPlaceholders(t *testing.T) {
	for build, want := range map[byte][]uint32{0: {spgPlaceholder, spgRedirect, spgLive, spgLive, spgPlaceholder}, 1: {spgPlaceholder, spgPlaceholder, spgLive, spgLive, spgPlaceholder}} {
		redirects := uint16(1 - build)
		moved := append(append(append(u16s(2, 0, 0, 4, 1), 0, 0), spgState8(build)...), u16s(2, 1, 1, 2, 3)...)
		moved = append(append(append(moved, spgLeafTuple(0, 1)...), spgLeafTuple(0, 2)...), spgLeafTuple(0, 9)...)
		record := buildRecord(pg.RmSPGist, 0x20, 7, moved, testBlock{blkno: 4}, testBlock{id: 1, blkno: 0x10005}, testBlock{id: 2, blkno: 6})
		got, err := redoOne(pg.V17, page.ForkMain, 4, spgTestPage(t), record)
		require.NoError(t, err)
		states, r, p := spgStatesOf(t, got)
		require.Equal(t, want, states)
		require.Equal(t, []uint16{redirects, 3 - redirects}, []uint16{r, p})
		if build == 0 {
			it, err := spgItem(got, 2)
			require.NoError(t, err)
			require.Equal(t, append(u16s(1, 5, 3), add32(nil, 700)...), []byte(it[spgPointer:]), "the last tuple's new place")
		}

		picked := append(u16s(0, 2, 0, 0, 3, 0, 1, 0, 0, 0), spgState8(build)...)
		picked = append(append(picked, u16s(2, 1)...), spgInnerTuple(1)...)
		got, err = redoOne(pg.V17, page.ForkMain, 4, spgTestPage(t), buildRecord(pg.RmSPGist, 0x50, 7, picked,
			testBlock{blkno: 4}, testBlock{id: 2, blkno: 0x10005}))
		require.NoError(t, err)
		states, r, p = spgStatesOf(t, got)
		require.Equal(t, want, states)
		require.Equal(t, []uint16{redirects, 3 - redirects}, []uint16{r, p})

		node := append(append(append(u16s(4, 2, 0x0200, 0, 0), 0, 0), spgState8(build)...), spgInnerTuple(3)...)
		got, err = redoOne(pg.V17, page.ForkMain, 4, spgTestPage(t), buildRecord(pg.RmSPGist, 0x30, 7, node,
			testBlock{blkno: 4}, testBlock{id: 1, blkno: 0x10005}, testBlock{id: 2, blkno: 6}))
		require.NoError(t, err)
		states, r, p = spgStatesOf(t, got)
		require.Equal(t, []uint32{spgLive, spgLive, spgLive, want[1], spgPlaceholder}, states)
		require.Equal(t, []uint16{redirects, 2 - redirects}, []uint16{r, p})
	}
}

// A chain of which nothing but a dead tuple is left moves without it.
func TestSPGistMovesNoDeadTuple(t *testing.T) {
	main := append(append(append(u16s(1, 0x0100, 0, 4, 1), 0, 0), spgState8(0)...), u16s(1, 5)...)
	main = append(main, spgLeafTuple(0, 9)...)
	blocks := []testBlock{{blkno: 9}, {id: 1, blkno: 5}, {id: 2, blkno: 6}}
	for block, want := range map[uint32][]uint32{
		9: {spgRedirect, spgLive, spgLive, spgLive, spgPlaceholder},
		5: {spgLive, spgLive, spgLive, spgLive, spgLive},
		6: {spgLive, spgLive, spgLive, spgLive, spgPlaceholder},
	} {
		got, err := redoOne(pg.V17, page.ForkMain, block, spgTestPage(t), buildRecord(pg.RmSPGist, 0x20, 7, main, blocks...))
		require.NoError(t, err)
		states, _, _ := spgStatesOf(t, got)
		require.Equal(t, want, states, "block %d", block)
	}
}

// The parent learns where its tuples are.
func TestSPGistDownlink(t *testing.T) {
	main := append(append(append(u16s(0, 0, 0, 4, 1), 0, 0), spgState8(0)...), u16s(7)...)
	main = append(main, spgLeafTuple(0, 1)...)
	got, err := redoOne(pg.V17, page.ForkMain, 4, spgTestPage(t), buildRecord(pg.RmSPGist, 0x20, 7, main,
		testBlock{blkno: 9}, testBlock{id: 1, blkno: 0x10005}, testBlock{id: 2, blkno: 4}))
	require.NoError(t, err)
	it, err := spgItem(got, 4)
	require.NoError(t, err)
	require.Equal(t, u16s(0xFFFF, 0xFFFF, 0, 8, 1, 5, 7, 8), []byte(it[8:]))
}

func TestSPGistRefusesWhatDoesNotFit(t *testing.T) {
	leafOf := func(n uint32) []byte { return append(add32(nil, n<<2), make([]byte, 20)...) }
	state := spgState8(0)
	link := func(parent, node uint16) []byte {
		return append(append(append(append(u16s(0, 0, 0, parent, node), 0, 0), state...), u16s(7)...), spgLeafTuple(0, 1)...)
	}
	noHolders := spgTestPage(t)
	le.PutUint16(noHolders[pg.BlockSize-4:], 0)
	longNode := spgTestPage(t)
	off := longNode.ItemID(4).Offset()
	le.PutUint16(longNode[off+14:], 0x1FFF)
	prefix := spgTestPage(t)
	le.PutUint16(prefix[off+2:], 0xFFFF)
	for _, c := range []struct {
		name     string
		info, id uint8
		page     bufpage.Page
		main     []byte
	}{
		{"leaf cut short", 0x10, 0, spgTestPage(t), append(u16s(0, 6, 0, 0, 0), spgLeafTuple(0, 1)[:20]...)},
		{"leaf smaller than a dead tuple", 0x10, 0, spgTestPage(t), append(u16s(0, 6, 0, 0, 0), leafOf(8)...)},
		{"leaf of no alignment", 0x10, 0, spgTestPage(t), append(u16s(0, 6, 0, 0, 0), leafOf(23)...)},
		{"leaf behind a gap", 0x10, 0, spgTestPage(t), append(u16s(0, 7, 0, 0, 0), spgLeafTuple(0, 1)...)},
		{"leaf at 0", 0x10, 0, spgTestPage(t), append(u16s(0, 0, 1, 0, 0), spgLeafTuple(0, 1)...)},
		{"leaf in the place of a live one", 0x10, 0, spgTestPage(t), append(u16s(0, 1, 2, 0, 0), spgLeafTuple(0, 1)...)},
		{"leaf in a chain without head", 0x10, 0, spgTestPage(t), append(u16s(0, 6, 9, 0, 0), spgLeafTuple(0, 1)...)},
		{"leaf in the place of an uncounted placeholder", 0x10, 0, noHolders, append(u16s(0, 5, 1, 0, 0), spgLeafTuple(0, 1)...)},
		{"leaf on a heap page", 0x10, 0, mapPage(), append(u16s(0, 1, 0, 0, 0), spgLeafTuple(0, 1)...)},
		{"leaf without its block", 0x10, 1, spgTestPage(t), append(u16s(0, 6, 0, 4, 0), spgLeafTuple(0, 1)...)},
		{"leaf on block 2", 0x10, 2, spgTestPage(t), append(u16s(0, 6, 0, 4, 0), spgLeafTuple(0, 1)...)},
		{"move without the other page", 0x20, 0, spgTestPage(t), link(4, 0)},
		{"move cut short", 0x20, 1, spgTestPage(t), append(append(u16s(9, 0, 0, 4, 1), 0, 0), state...)},
		{"node in an unknown place", 0x30, 2, spgTestPage(t), append(append(append(u16s(4, 2, 0x0200, 0, 0), 0, 0), state...), spgInnerTuple(3)...)},
		{"node of half a tuple", 0x30, 0, spgTestPage(t), append(append(append(u16s(4, 0, 0xFF00, 0, 0), 0, 0), state...), spgInnerTuple(3)[:20]...)},
		{"node in a tuple that is not there", 0x30, 0, spgTestPage(t), append(append(append(u16s(9, 0, 0xFF00, 0, 0), 0, 0), state...), spgInnerTuple(3)...)},
		{"split with one tuple", 0x40, 0, spgTestPage(t), append(u16s(4, 6, 0x0100), spgInnerTuple(1)...)},
		{"split of one page on another", 0x40, 1, spgTestPage(t), append(append(u16s(4, 6, 0x0100), spgInnerTuple(1)...), spgInnerTuple(1)...)},
		{"pick split without an inner page", 0x50, 0, spgTestPage(t), append(append(u16s(0, 0, 0, 0, 3, 0, 1, 0, 0, 0), state...), spgInnerTuple(1)...)},
		{"pick split cut short", 0x50, 2, spgTestPage(t), append(u16s(0, 0, 3, 0, 3, 0, 1, 0, 0, 0), state...)},
		{"pick split with a leaf too few", 0x50, 2, spgTestPage(t), append(append(append(u16s(0, 0, 1, 0, 6, 0, 1, 0, 0, 0), state...), 1, 0), spgInnerTuple(1)...)},
		{"vacuum with fewer numbers than said", 0x60, 0, spgTestPage(t), append(append(u16s(1, 0, 0, 0), state...), 1)},
		{"vacuum of what is not there", 0x60, 0, spgTestPage(t), append(append(u16s(1, 0, 0, 0), state...), u16s(9)...)},
		{"vacuum that moves to nowhere", 0x60, 0, spgTestPage(t), append(append(u16s(0, 0, 1, 0), state...), u16s(1, 9)...)},
		{"vacuum that moves from nowhere", 0x60, 0, spgTestPage(t), append(append(u16s(0, 0, 1, 0), state...), u16s(0, 1)...)},
		{"vacuum of a link that is not there", 0x60, 0, spgTestPage(t), append(append(u16s(0, 0, 0, 1), state...), u16s(9, 1)...)},
		{"vacuum twice of one tuple", 0x60, 0, spgTestPage(t), append(append(u16s(0, 2, 0, 0), state...), u16s(1, 1)...)},
		{"root vacuum of what is not there", 0x70, 0, spgTestPage(t), append(append(u16s(1, 0), state...), u16s(9)...)},
		{"root vacuum of block 1", 0x70, 1, spgTestPage(t), append(append(u16s(1, 0), state...), u16s(1)...)},
		{"redirect that is none", 0x80, 0, spgTestPage(t), u16s(1, 0, 0, 0, 1, 1)},
		{"placeholders that are not there", 0x80, 0, spgTestPage(t), u16s(0, 6, 0, 0, 0)},
		{"more placeholders than are counted", 0x80, 0, spgTestPage(t), u16s(0, 1, 0, 0, 0)},
	} {
		for _, v := range []pg.Version{pg.V15, pg.V17} {
			_, err := redoOne(v, page.ForkMain, 4, c.page, buildRecord(pg.RmSPGist, c.info, 7, c.main, testBlock{id: c.id, blkno: 4}))
			require.ErrorIs(t, err, walredo.ErrCorrupt, "%s, version %d", c.name, v)
			require.NotErrorIs(t, err, errBug, c.name)
		}
	}
	for name, p := range map[string]bufpage.Page{"node beyond its tuple": longNode, "prefix beyond its tuple": prefix, "no such node": spgTestPage(t), "no such item": spgTestPage(t)} {
		main := link(4, 1)
		switch name {
		case "no such node":
			main = link(4, 2)
		case "no such item":
			main = link(6, 0)
		}
		_, err := redoOne(pg.V17, page.ForkMain, 4, p, buildRecord(pg.RmSPGist, 0x20, 7, main,
			testBlock{blkno: 9}, testBlock{id: 1, blkno: 5}, testBlock{id: 2, blkno: 4}))
		require.ErrorIs(t, err, walredo.ErrCorrupt, name)
	}
}
