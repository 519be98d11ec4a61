package native

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/walredo"
)

// testBlock is a block reference of a record under construction.
type testBlock struct {
	id       uint8
	fork     page.Fork
	blkno    uint32
	willInit bool
	data     []byte
}

var testRel = page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: 16384}

// buildRecord makes a WAL record, without CRC.
func buildRecord(r pg.Rmgr, info uint8, xid uint32, main []byte, blocks ...testBlock) []byte {
	b := make([]byte, 24)
	le.PutUint32(b[4:], xid)
	b[16], b[17] = info, uint8(r)
	for _, k := range blocks {
		flags := uint8(k.fork)
		if k.willInit {
			flags |= 0x40
		}
		if len(k.data) > 0 {
			flags |= 0x20
		}
		b = append(b, k.id, flags)
		b = le.AppendUint16(b, uint16(len(k.data)))
		for _, v := range []uint32{testRel.Spc, testRel.DB, testRel.Rel, k.blkno} {
			b = le.AppendUint32(b, v)
		}
	}
	if len(main) > 0 {
		b = append(b, 254)
		b = le.AppendUint32(b, uint32(len(main)))
	}
	for _, k := range blocks {
		b = append(b, k.data...)
	}
	b = append(b, main...)
	le.PutUint32(b, uint32(len(b)))
	return b
}

// redoOne applies one record to a page of testRel.
func redoOne(v pg.Version, fork page.Fork, blkno uint32, base, record []byte) ([]byte, error) {
	return New().Redo(context.Background(), nil, &walredo.Request{
		Key: testRel.WithFork(fork).Block(blkno), Version: v, Base: base,
		Records: []walredo.Record{{LSN: 0x2000, Value: page.Value{Kind: page.KindPostgres, Bytes: record}}},
	})
}

// redoValue applies one value to a page by key.
func redoValue(k page.Key, base []byte, v page.Value) ([]byte, error) {
	return New().Redo(context.Background(), nil, &walredo.Request{
		Key: k, Version: pg.V17, Base: base, Records: []walredo.Record{{LSN: 0x2000, Value: v}},
	})
}

// mapPage is a visibility map page at LSN 0x1000 with all bits on.
func mapPage() []byte {
	p := bufpage.Page(make([]byte, pg.BlockSize))
	p.Init(0)
	p.SetLSN(0x1000)
	for i := bufpage.HeaderSize; i < len(p); i++ {
		p[i] = 0xFF
	}
	return p
}

// mapBitsOf gives the bits of a heap page on its map page.
func mapBitsOf(p []byte, heap uint32) uint8 {
	return p[bufpage.HeaderSize+heap%mapHeapBlocks/mapPerByte] >> (heap % mapPerByte * mapBits) & mapValid
}

// Minor releases from 2026 on name the visibility map's page in the records that clear bits there.
func TestRecordsThatNameTheMap(t *testing.T) {
	far := uint32(mapHeapBlocks + 9) // its bits are on map block 1
	update := func(flags uint8) []byte { return []byte{7, 0, 0, 0, 1, 0, 0, flags, 0, 0, 0, 0, 2, 0} }
	for name, c := range map[string]struct {
		rmgr    pg.Rmgr
		info    uint8
		main    []byte
		blocks  []testBlock
		at      uint32           // map block to redo
		cleared map[uint32]uint8 // heap block: bits left
		same    bool
	}{
		"insert": {rmgr: pg.RmHeap, info: heapInsert, main: []byte{1, 0, 1},
			blocks: []testBlock{{blkno: 6}, {id: 1, fork: page.ForkVM}}, cleared: map[uint32]uint8{6: 0}},
		"insert, not cleared": {rmgr: pg.RmHeap, info: heapInsert, main: []byte{1, 0, 0},
			blocks: []testBlock{{blkno: 6}, {id: 1, fork: page.ForkVM}}, same: true},
		"multi-insert": {rmgr: pg.RmHeap2, info: heap2MultiInsert | heapInitPage, main: []byte{1, 0, 1, 0},
			blocks: []testBlock{{blkno: 7, willInit: true}, {id: 1, fork: page.ForkVM}}, cleared: map[uint32]uint8{7: 0}},
		"delete": {rmgr: pg.RmHeap, info: heapDelete, main: []byte{7, 0, 0, 0, 1, 0, 0, 1},
			blocks: []testBlock{{blkno: far}, {id: 1, fork: page.ForkVM, blkno: 1}}, at: 1, cleared: map[uint32]uint8{far: 0}},
		"lock": {rmgr: pg.RmHeap, info: heapLock, main: []byte{7, 0, 0, 0, 1, 0, 0, 1},
			blocks: []testBlock{{blkno: 8}, {id: 1, fork: page.ForkVM}}, cleared: map[uint32]uint8{8: mapAllVisible}},
		"lock updated": {rmgr: pg.RmHeap2, info: heap2LockUpdated, main: []byte{7, 0, 0, 0, 1, 0, 0, 1},
			blocks: []testBlock{{blkno: 8}, {id: 1, fork: page.ForkVM}}, cleared: map[uint32]uint8{8: mapAllVisible}},
		"update on one page": {rmgr: pg.RmHeap, info: heapHotUpdate, main: update(3),
			blocks: []testBlock{{blkno: 3}, {id: 2, fork: page.ForkVM}}, cleared: map[uint32]uint8{3: 0}},
		"update, one map page": {rmgr: pg.RmHeap, info: heapUpdate, main: update(3),
			blocks: []testBlock{{blkno: 3}, {id: 1, blkno: 9}, {id: 2, fork: page.ForkVM}}, cleared: map[uint32]uint8{3: 0, 9: 0}},
		"update, old not cleared": {rmgr: pg.RmHeap, info: heapUpdate, main: update(2),
			blocks: []testBlock{{blkno: 3}, {id: 1, blkno: 9}, {id: 2, fork: page.ForkVM}}, cleared: map[uint32]uint8{3: 0}},
		"update, old on a map page of its own": {rmgr: pg.RmHeap, info: heapUpdate, main: update(3),
			blocks: []testBlock{{blkno: 3}, {id: 1, blkno: far}, {id: 2, fork: page.ForkVM}, {id: 3, fork: page.ForkVM, blkno: 1}},
			at:     1, cleared: map[uint32]uint8{far: 0}},
		"update, new, old being elsewhere": {rmgr: pg.RmHeap, info: heapUpdate, main: update(3),
			blocks:  []testBlock{{blkno: 3}, {id: 1, blkno: far}, {id: 2, fork: page.ForkVM}, {id: 3, fork: page.ForkVM, blkno: 1}},
			cleared: map[uint32]uint8{3: 0}},
	} {
		got, err := redoOne(pg.V17, page.ForkVM, c.at, mapPage(), buildRecord(c.rmgr, c.info, 700, c.main, c.blocks...))
		require.NoError(t, err, name)
		want := bufpage.Page(mapPage())
		for heap, left := range c.cleared {
			require.Equal(t, left, mapBitsOf(got, heap), "%s: heap block %d", name, heap)
			want[bufpage.HeaderSize+heap%mapHeapBlocks/mapPerByte] &^= (mapValid &^ left) << (heap % mapPerByte * mapBits)
		}
		if !c.same {
			want.SetLSN(0x2000)
		}
		require.Equal(t, []byte(want), got, name)
	}
	_, err := redoOne(pg.V17, page.ForkVM, 1, mapPage(),
		buildRecord(pg.RmHeap, heapInsert, 7, []byte{1, 0, 1}, testBlock{blkno: 6}, testBlock{id: 1, fork: page.ForkVM, blkno: 1}))
	require.ErrorIs(t, err, walredo.ErrCorrupt, "the wrong map page")
}

func TestClearAndTruncateMap(t *testing.T) {
	vm := testRel.WithFork(page.ForkVM).Block(0)
	got, err := redoValue(vm, mapPage(), page.Value{Kind: page.KindClearVM, NewHeapBlock: 5, OldHeapBlock: 6, Flags: mapAllFrozen})
	require.NoError(t, err)
	require.Equal(t, []uint8{3, 1, 1, 3}, []uint8{mapBitsOf(got, 4), mapBitsOf(got, 5), mapBitsOf(got, 6), mapBitsOf(got, 7)})
	require.Equal(t, page.LSN(0x2000), bufpage.Page(got).LSN())

	got, err = redoValue(vm, make([]byte, pg.BlockSize), page.Value{Kind: page.KindClearVM, NewHeapBlock: 5, OldHeapBlock: page.NoBlock, Flags: 3})
	require.NoError(t, err)
	require.True(t, bufpage.Page(got).IsZero(), "a new page stays new")

	got, err = redoValue(vm, mapPage(), page.Value{Kind: page.KindTruncateVM, TruncByte: 2, TruncBits: 4})
	require.NoError(t, err)
	require.Equal(t, []byte{0xFF, 0xFF, 0x0F, 0, 0}, got[24:29])
	require.Equal(t, byte(0), got[8191])
	require.Equal(t, page.LSN(0x1000), bufpage.Page(got).LSN())

	for _, v := range []page.Value{
		{Kind: page.KindClearVM, NewHeapBlock: mapHeapBlocks, OldHeapBlock: page.NoBlock, Flags: 3},
		{Kind: page.KindTruncateVM, TruncByte: mapBytes},
		{Kind: page.KindTruncateVM, TruncByte: 1 << 63},
		{Kind: page.KindTruncateVM, TruncBits: 8},
		{Kind: page.KindClogAborted, Xids: []uint32{1}},
		{Kind: page.KindAuxFile},
	} {
		_, err = redoValue(vm, mapPage(), v)
		require.ErrorIs(t, err, walredo.ErrCorrupt)
	}
	_, err = redoValue(testRel.Block(0), mapPage(), page.Value{Kind: page.KindTruncateVM})
	require.ErrorIs(t, err, walredo.ErrCorrupt, "no map")
}

func TestCommitLog(t *testing.T) {
	key := page.Clog.Block(0, 1) // transactions 32768 to 65535
	zero := make([]byte, pg.BlockSize)
	got, err := redoValue(key, zero, page.Value{Kind: page.KindClogCommitted, Xids: []uint32{32768, 32771, 65535}, Timestamp: 0x0102030405060708})
	require.NoError(t, err)
	require.Len(t, got, pg.BlockSize+8)
	require.Equal(t, byte(0x41), got[0])
	require.Equal(t, byte(0x40), got[8191])
	require.Equal(t, []byte{1, 2, 3, 4, 5, 6, 7, 8}, got[8192:])

	aborted, err := redoValue(key, got, page.Value{Kind: page.KindClogAborted, Xids: []uint32{32768, 32769}})
	require.NoError(t, err)
	require.Equal(t, byte(0x4A), aborted[0])
	require.Equal(t, got[8192:], aborted[8192:], "the time stays")

	again, err := redoValue(key, aborted, page.Value{Kind: page.KindClogCommitted, Xids: []uint32{32770}, Timestamp: -1})
	require.NoError(t, err)
	require.Len(t, again, pg.BlockSize+8)
	require.Equal(t, []byte{255, 255, 255, 255, 255, 255, 255, 255}, again[8192:])
	image, err := redoValue(key, again, page.Value{Kind: page.KindImage, Bytes: zero})
	require.NoError(t, err)
	require.Equal(t, zero, image)

	_, err = redoValue(key, zero, page.Value{Kind: page.KindClogCommitted, Xids: []uint32{32767}})
	require.ErrorIs(t, err, walredo.ErrCorrupt)
	_, err = redoValue(page.MultixactOffsets.Block(0, 0), got, page.Value{Kind: page.KindMultixactOffset})
	require.ErrorIs(t, err, walredo.ErrCorrupt, "a time belongs to the commit log alone")
	_, err = redoValue(key, zero[:100], page.Value{Kind: page.KindClogAborted})
	require.ErrorIs(t, err, walredo.ErrCorrupt)
}

func TestMultixact(t *testing.T) {
	zero := make([]byte, pg.BlockSize)
	got, err := redoValue(page.MultixactOffsets.Block(1, 2), zero, page.Value{Kind: page.KindMultixactOffset, Multi: 34*2048 + 3, Offset: 77})
	require.NoError(t, err)
	require.Equal(t, uint32(77), le.Uint32(got[12:]))
	_, err = redoValue(page.MultixactOffsets.Block(1, 2), zero, page.Value{Kind: page.KindMultixactOffset, Multi: 3})
	require.ErrorIs(t, err, walredo.ErrCorrupt)

	// The places that Neon's own test of this arithmetic expects.
	for offset, want := range map[uint32]struct{ segment, page, flags, shift, member uint32 }{
		123456789:  {2358, 75462, 4780, 8, 4788},
		0xFFFFFFFF: {82040, 2625285, 5160, 24, 5176},
	} {
		key := page.MultixactMembers.Block(want.segment, want.page%pg.SLRUSegPages)
		got, err := redoValue(key, zero, page.Value{
			Kind: page.KindMultixactMembers, Offset: offset, Members: []page.Member{{Xid: 0xABCD, Status: 5}},
		})
		require.NoError(t, err)
		require.Equal(t, uint32(5)<<want.shift, le.Uint32(got[want.flags:]))
		require.Equal(t, uint32(0xABCD), le.Uint32(got[want.member:]))
	}
	_, err = redoValue(page.MultixactMembers.Block(0, 0), zero, page.Value{
		Kind: page.KindMultixactMembers, Offset: membersPerPage - 1, Members: make([]page.Member, 2),
	})
	require.ErrorIs(t, err, walredo.ErrCorrupt, "the second is on the next page")
}

func TestUnsupported(t *testing.T) {
	base := mapPage()
	for _, r := range []pg.Rmgr{pg.RmNeon, 200} {
		_, err := redoOne(pg.V15, page.ForkMain, 4, base, buildRecord(r, 0x10, 7, []byte{1}, testBlock{blkno: 4, data: []byte{1}}))
		require.ErrorIs(t, err, walredo.ErrUnsupported, r)
		var e *walredo.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, []any{r, uint8(0x10), page.LSN(0x2000)}, []any{e.Rmgr, e.Info, e.LSN})
	}
}

func TestRecordsThatThePageHas(t *testing.T) {
	base := mapPage()
	bufpage.Page(base).SetLSN(0x2000)
	got, err := redoOne(pg.V15, page.ForkMain, 4, base, buildRecord(pg.RmHeap, heapDelete, 7, []byte{1}, testBlock{blkno: 4}))
	require.NoError(t, err)
	require.Equal(t, base, got)
	_, err = redoOne(pg.V15, page.ForkMain, 4, make([]byte, pg.BlockSize), buildRecord(pg.RmHeap, heapDelete, 7, make([]byte, 8), testBlock{blkno: 4}))
	require.ErrorIs(t, err, walredo.ErrCorrupt, "a page that was never initialized")
}

func TestDamagedBaseIsNotHandedOut(t *testing.T) {
	base := mapPage()
	bufpage.Page(base).SetLower(9000)
	_, err := redoOne(pg.V15, page.ForkMain, 4, base, buildRecord(pg.RmXLOG, xlogFPIForHint, 0, nil, testBlock{blkno: 4}))
	require.ErrorIs(t, err, walredo.ErrCorrupt)
}
