package ingest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
)

// A database too large for one batch is refused before a page of it is read, with what to do; the records
// before are stored.
func TestCopyOfALargeDatabaseIsRefused(t *testing.T) {
	ctx := context.Background()
	c := craft(t, pg.V14, pg.Stock, nil)
	c.createRel(testRel)
	c.snapshot()
	var b page.Batch
	b.PutImage(testRel.SizeKey(), c.lsn+64, datadir.EncodeSize(MaxCopyBlocks+1))
	b.End, b.Prev = c.lsn+64, c.lsn
	require.NoError(t, c.s.Put(ctx, &b))
	c.lsn += 64
	c.i = newIngester(t, c.s, Options{})

	good := c.lsn
	const createdDB = 9
	err := c.try(wal.Record{Rmgr: pg.RmDBase, Main: le(uint32(createdDB), testRel.Spc, testRel.DB, testRel.Spc)})
	var re *RecordError
	require.ErrorAs(t, err, &re)
	require.ErrorContains(t, err, "at most 262144")
	require.ErrorContains(t, err, "STRATEGY WAL_LOG")
	require.Equal(t, good, c.s.Last)
	rels, err := datadir.At(c.s, c.s.Last, pg.V14).Relations(ctx, testRel.Spc, createdDB)
	if err == nil {
		require.Empty(t, rels)
	}
}
