package native

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/walredo"
)

// leafTuple makes a tuple with an 8-byte key.
func leafTuple(block uint32, item uint16, key byte) btTuple {
	t := make(btTuple, 16)
	t.setInfo(16, false)
	t.setBlock(block)
	t.setItem(item)
	t[8] = key
	return t
}

// leaf makes a leaf with a right sibling, a high key and the items given.
func leaf(t testing.TB, items ...btTuple) bufpage.Page {
	p := bufpage.Page(make([]byte, pg.BlockSize))
	o := btInit(p)
	o.setFlags(btLeaf)
	o.setNext(9)
	require.NoError(t, btAdd(p, leafTuple(0, 1, 0xFF), btHighKey))
	for i, it := range items {
		require.NoError(t, btAdd(p, it, i+2))
	}
	return p
}

func u16s(v ...uint16) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint16(b, x)
	}
	return b
}

// applyBtree runs one operation on one block of a record made by hand.
func applyBtree(p bufpage.Page, op uint8, id uint8, main, data []byte) error {
	rec := &wal.Record{Rmgr: pg.RmBtree, Info: op << 4, Main: main}
	for i := range uint8(5) {
		rec.Blocks = append(rec.Blocks, wal.Block{ID: i, Blkno: 10 + uint32(i)})
	}
	rec.Blocks[id%5].Data = data
	c := &change{page: p, rec: rec, blk: &rec.Blocks[id%5], end: 0x5000, version: pg.V17}
	return btreeOps[op](c)
}

func tuples(t *testing.T, p bufpage.Page) (all []btTuple) {
	for n := 1; n <= p.MaxOffset(); n++ {
		it, err := btItem(p, n)
		require.NoError(t, err)
		all = append(all, it)
	}
	return all
}

// Equal tuples become a posting list, which a new tuple then splits, and which VACUUM shortens to nothing
// but one TID again.
func TestPostingListLife(t *testing.T) {
	p := leaf(t, leafTuple(1, 1, 7), leafTuple(2, 2, 7), leafTuple(4, 4, 7), leafTuple(5, 5, 8))
	require.NoError(t, applyBtree(p, 0x6, 0, u16s(1), u16s(2, 3)))
	all := tuples(t, p)
	require.Len(t, all, 3)
	require.True(t, all[1].isPosting())
	key, tids, err := all[1].tids()
	require.NoError(t, err)
	require.Equal(t, 16, key)
	require.Equal(t, u16s(0, 1, 1, 0, 2, 2, 0, 4, 4), tids)

	newItem := leafTuple(3, 3, 7)
	require.NoError(t, applyBtree(p, 0x5, 0, u16s(3), append(u16s(2), newItem...)))
	all = tuples(t, p)
	require.Len(t, all, 4)
	_, tids, err = all[1].tids()
	require.NoError(t, err)
	require.Equal(t, u16s(0, 1, 1, 0, 2, 2, 0, 3, 3), tids)
	require.Equal(t, leafTuple(4, 4, 7), all[2])

	require.NoError(t, applyBtree(p, 0xC, 0, u16s(1, 1), u16s(3, 2, 2, 0, 2)))
	all = tuples(t, p)
	require.Len(t, all, 3)
	require.Equal(t, leafTuple(2, 2, 7), all[1])
	require.Equal(t, leafTuple(5, 5, 8), all[2])
	require.EqualValues(t, 0x5000, p.LSN())
}

func TestBtreeRefusesWhatDoesNotFit(t *testing.T) {
	posting := func() bufpage.Page {
		p := leaf(t, leafTuple(1, 1, 7), leafTuple(2, 2, 7), leafTuple(5, 5, 8))
		require.NoError(t, applyBtree(p, 0x6, 0, u16s(1), u16s(2, 2)))
		return p
	}
	zero := bufpage.Page(make([]byte, pg.BlockSize))
	heap := bufpage.Page(make([]byte, pg.BlockSize))
	heap.Init(0)
	huge := leafTuple(0, 0, 0)
	huge.setInfo(0x1FFF, false)
	for _, c := range []struct {
		name       string
		page       bufpage.Page
		op, id     uint8
		main, data []byte
	}{
		{"insert without item number", posting(), 0, 0, nil, leafTuple(1, 1, 1)},
		{"insert at item 0", posting(), 0, 0, u16s(0), leafTuple(1, 1, 1)},
		{"insert beyond the end", posting(), 0, 0, u16s(9), leafTuple(1, 1, 1)},
		{"insert of nothing", posting(), 0, 0, u16s(2), nil},
		{"insert into a new page", zero, 0, 0, u16s(1), leafTuple(1, 1, 1)},
		{"insert into a heap page", heap, 0, 0, u16s(1), leafTuple(1, 1, 1)},
		{"insert into block 1", posting(), 0, 1, u16s(2), leafTuple(1, 1, 1)},
		{"upper insert into block 3", posting(), 1, 3, u16s(2), leafTuple(1, 1, 1)},
		{"metapage cut short", posting(), 2, 2, u16s(2), make([]byte, 24)},
		{"posting split at 0", posting(), 5, 0, u16s(3), append(u16s(0), leafTuple(1, 2, 7)...)},
		{"posting split at its end", posting(), 5, 0, u16s(3), append(u16s(2), leafTuple(1, 2, 7)...)},
		{"posting split of a plain tuple", posting(), 5, 0, u16s(4), append(u16s(1), leafTuple(1, 2, 7)...)},
		{"posting split before the first item", posting(), 5, 0, u16s(1), append(u16s(1), leafTuple(1, 2, 7)...)},
		{"dedup with fewer runs than said", posting(), 6, 0, u16s(2), u16s(2, 2)},
		{"vacuum with fewer numbers than said", posting(), 0xC, 0, u16s(5, 0), u16s(2)},
		{"vacuum of an item that is not there", posting(), 0xC, 0, u16s(1, 0), u16s(7)},
		{"vacuum of more items than fit", posting(), 0xC, 0, u16s(500, 0), make([]byte, 1000)},
		{"update of a plain tuple", posting(), 0xC, 0, u16s(0, 1), u16s(3, 1, 0)},
		{"update that leaves nothing", posting(), 0xC, 0, u16s(0, 1), u16s(2, 2, 0, 1)},
		{"update of a TID that is not there", posting(), 0xC, 0, u16s(0, 1), u16s(2, 1, 5)},
		{"update cut short", posting(), 0xC, 0, u16s(0, 1), u16s(2, 9, 0)},
		{"delete cut short", posting(), 7, 0, u16s(0, 0, 1), u16s(2)},
		{"split cut short", posting(), 3, 0, u16s(0, 0), nil},
		{"split without high key", posting(), 4, 0, u16s(0, 0, 3, 3, 0), nil},
		{"split behind the last item", posting(), 4, 0, u16s(0, 0, 30, 30, 0), leafTuple(0, 1, 1)},
		{"right half with a tuple longer than the data", posting(), 4, 1, u16s(0, 0, 3, 3, 0), huge},
		{"half-dead parent without a right neighbour", posting(), 0xB, 1, append(u16s(3, 0), make([]byte, 16)...), nil},
		{"half-dead cut short", posting(), 0xB, 0, make([]byte, 8), nil},
		{"unlink cut short", posting(), 8, 0, make([]byte, 35), nil},
		{"new root with half a tuple", posting(), 0xA, 0, u16s(0, 0, 1, 0), make([]byte, 4)},
	} {
		err := applyBtree(c.page, c.op, c.id, c.main, c.data)
		require.ErrorIs(t, err, walredo.ErrCorrupt, c.name)
	}
}

// No record makes redo panic or leave a page's bounds, whatever the page.
func FuzzBtree(f *testing.F) {
	f.Add(uint8(0), uint8(0), u16s(2), []byte(leafTuple(1, 1, 1)), []byte{}, uint16(0))
	f.Add(uint8(5), uint8(0), u16s(3), append(u16s(1), leafTuple(1, 2, 7)...), u16s(1, 2, 3), uint16(24))
	f.Add(uint8(6), uint8(0), u16s(1), u16s(2, 2), []byte{}, uint16(0))
	f.Add(uint8(3), uint8(0), u16s(0, 0, 3, 2, 1), append([]byte(leafTuple(1, 2, 7)), leafTuple(1, 2, 7)...), []byte{}, uint16(0))
	f.Add(uint8(4), uint8(1), u16s(0, 0, 3, 2, 0), []byte(leafTuple(1, 2, 7)), u16s(0xFFFF), uint16(8176))
	f.Add(uint8(12), uint8(0), u16s(1, 1), u16s(3, 2, 1, 0), u16s(0xFFFF, 0x20), uint16(8000))
	f.Add(uint8(11), uint8(1), make([]byte, 20), []byte{}, []byte{1}, uint16(12))
	f.Fuzz(func(t *testing.T, op, id uint8, main, data, damage []byte, at uint16) {
		p := leaf(t, leafTuple(1, 1, 7), leafTuple(2, 2, 7), leafTuple(5, 5, 8))
		require.NoError(t, applyBtree(p, 0x6, 0, u16s(1), u16s(2, 2)))
		copy(p[at%pg.BlockSize:], damage)
		if btreeOps[op%16] == nil {
			return
		}
		if err := applyBtree(p, op%16, id%5, main, data); err != nil {
			require.ErrorIs(t, err, walredo.ErrCorrupt)
		}
	})
}
