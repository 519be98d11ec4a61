package xlogrec

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg/wal"
)

// The heap blocks of a record are those under ids 0 and 1, not the first and last of all references: newer
// minor versions name map pages behind them.
func TestHeapBlocks(t *testing.T) {
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
	heap := func(id uint8, n uint32) wal.Block { return wal.Block{ID: id, Rel: rel, Blkno: n} }
	vm := func(id uint8, n uint32) wal.Block {
		return wal.Block{ID: id, Rel: rel.WithFork(page.ForkVM), Blkno: n}
	}
	const far = VMHeapBlocksPerPage + 5
	for name, c := range map[string]struct {
		clear         VMClear
		blocks        []wal.Block
		newBlk, oldBk uint32
	}{
		"insert":                          {VMClear{New: true}, []wal.Block{heap(0, 7)}, 7, page.NoBlock},
		"insert, map named":               {VMClear{New: true}, []wal.Block{heap(0, 7), vm(1, 0)}, page.NoBlock, page.NoBlock},
		"lock":                            {VMClear{Old: true}, []wal.Block{heap(0, 7)}, page.NoBlock, 7},
		"lock, map named":                 {VMClear{Old: true}, []wal.Block{heap(0, 7), vm(1, 0)}, page.NoBlock, page.NoBlock},
		"update on one page":              {VMClear{New: true, Old: true}, []wal.Block{heap(0, 7)}, 7, 7},
		"update over two":                 {VMClear{New: true, Old: true}, []wal.Block{heap(0, 7), heap(1, 9)}, 7, 9},
		"update, one map for both":        {VMClear{New: true, Old: true}, []wal.Block{heap(0, 7), heap(1, 9), vm(2, 0)}, page.NoBlock, page.NoBlock},
		"update, two maps, one named":     {VMClear{New: true, Old: true}, []wal.Block{heap(0, 7), heap(1, far), vm(3, 1)}, 7, page.NoBlock},
		"update, two maps, both named":    {VMClear{New: true, Old: true}, []wal.Block{heap(0, 7), heap(1, far), vm(2, 0), vm(3, 1)}, page.NoBlock, page.NoBlock},
		"no block at all":                 {VMClear{New: true, Old: true}, nil, page.NoBlock, page.NoBlock},
		"id 1 of another relation's fork": {VMClear{Old: true}, []wal.Block{heap(0, far), vm(1, 0)}, page.NoBlock, far},
	} {
		rec := wal.Record{Blocks: c.blocks}
		_, n, o := c.clear.HeapBlocks(&rec)
		require.Equal(t, c.newBlk, n, name)
		require.Equal(t, c.oldBk, o, name)
	}
}
