package ingest

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/xlogrec"
)

// recovering is a base backup with testRel of one written page and one of zeros.
func recovering(t *testing.T, r Recovery) *crafted {
	t.Helper()
	c := craft(t, pg.V17, pg.Stock, nil)
	c.createRel(testRel)
	written := make([]byte, pg.BlockSize)
	bufpage.Page(written).Init(0)
	for n, content := range [][]byte{written, make([]byte, pg.BlockSize)} {
		b := block(testRel, uint32(n), false)
		b.HasImage, b.Apply, b.Image = true, true, content
		c.put(wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGFPI, Blocks: []wal.Block{b}})
	}
	require.NoError(t, c.i.Commit(t.Context()))
	if r.Redo == 0 {
		r.Redo = c.lsn
	}
	c.i = newIngester(t, c.s, Options{Recovery: &r})
	return c
}

func (c *crafted) endBackup(start page.LSN) error {
	return c.try(wal.Record{Rmgr: pg.RmXLOG, Info: xlogrec.XLOGBackupEnd, Main: le(uint64(start))})
}

func (c *crafted) change(rel page.RelTag, n uint32) {
	c.t.Helper()
	c.put(wal.Record{Rmgr: pg.RmGeneric, Blocks: []wal.Block{block(rel, n, false)}})
}

func (c *crafted) truncate(rel page.RelTag, n uint32) {
	c.t.Helper()
	c.put(wal.Record{Rmgr: pg.RmSMGR, Info: xlogrec.SmgrTruncate, Main: le(n, relFields(rel), uint32(xlogrec.TruncateHeap))})
}

func (c *crafted) drop(rel page.RelTag) {
	c.t.Helper()
	const hasInfo, rels = 0x80, 4
	c.put(wal.Record{Rmgr: pg.RmXact, Xid: 1001, Info: xlogrec.XactCommit | hasInfo, Main: le(uint64(1), uint32(rels), uint32(1), relFields(rel))})
}

// TestRecoveryOfBlocksThatAreNotThere: a record for a block that is not there, or was never written, changes nothing, and must
// be explained by a later one that cuts or drops the relation.
func TestRecoveryOfBlocksThatAreNotThere(t *testing.T) {
	other := page.RelTag{Spc: 1663, DB: 5, Rel: 20000}
	for name, x := range map[string]struct {
		records func(c *crafted)
		open    []string // of the error at the end; none if there is to be none
	}{
		"nothing":                 {func(c *crafted) {}, nil},
		"a block that is there":   {func(c *crafted) { c.change(testRel, 0) }, nil},
		"missing relation":        {func(c *crafted) { c.change(other, 0) }, []string{"block 0", other.String()}},
		"dropped later":           {func(c *crafted) { c.change(other, 7); c.drop(other) }, nil},
		"another one dropped":     {func(c *crafted) { c.change(other, 7); c.drop(testRel) }, []string{"block 7"}},
		"database dropped later":  {func(c *crafted) { c.change(other, 7); c.dropDatabase(5) }, nil},
		"another database":        {func(c *crafted) { c.change(other, 7); c.dropDatabase(6) }, []string{"block 7"}},
		"shorter relation":        {func(c *crafted) { c.change(testRel, 5) }, []string{"block 5", testRel.String()}},
		"cut later":               {func(c *crafted) { c.change(testRel, 5); c.truncate(testRel, 5) }, nil},
		"cut too far behind":      {func(c *crafted) { c.change(testRel, 5); c.truncate(testRel, 6) }, []string{"block 5"}},
		"page of zeros":           {func(c *crafted) { c.change(testRel, 1) }, []string{"block 1"}},
		"page of zeros, cut":      {func(c *crafted) { c.change(testRel, 1); c.truncate(testRel, 1) }, nil},
		"page of zeros, made new": {func(c *crafted) { c.init(testRel, 1); c.change(testRel, 1) }, nil},
		"extended before":         {func(c *crafted) { c.init(testRel, 5); c.change(testRel, 5) }, nil},
		"map":                     {func(c *crafted) { c.change(testRel.WithFork(page.ForkVM), 3) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := recovering(t, Recovery{})
			start := c.lsn
			x.records(c)
			require.Zero(t, c.i.Consistent())
			require.NoError(t, c.endBackup(start-8), "another backup's end")
			require.Zero(t, c.i.Consistent())
			err := c.endBackup(start)
			if x.open == nil {
				require.NoError(t, err)
				require.Equal(t, c.lsn, c.i.Consistent())
				c.init(testRel, 0)
				c.change(testRel, 9) // from here on as ever
				require.EqualValues(t, 10, c.size(testRel))
				return
			}
			require.ErrorIs(t, err, ErrIncomplete)
			require.Zero(t, c.i.Consistent())
			for _, w := range x.open {
				require.ErrorContains(t, err, w)
			}
		})
	}
}

func (c *crafted) init(rel page.RelTag, n uint32) {
	c.t.Helper()
	c.put(wal.Record{Rmgr: pg.RmGeneric, Blocks: []wal.Block{block(rel, n, true)}})
}

func (c *crafted) dropDatabase(db uint32) {
	c.t.Helper()
	const drop = 0x20 // since 15
	c.put(wal.Record{Rmgr: pg.RmDBase, Info: drop, Main: le(db, uint32(1), uint32(1663))})
}

// TestRecoveryRemembersSoManyBlocks: a backup that lacks more than that many blocks is refused; what is cut or dropped makes room.
func TestRecoveryRemembersSoManyBlocks(t *testing.T) {
	other := page.RelTag{Spc: 1663, DB: 5, Rel: 20000}
	c := recovering(t, Recovery{})
	require.Equal(t, maxOpen, c.i.recovery.most)
	start := c.lsn
	c.i.recovery.most = 3
	for n := range uint32(3) {
		c.change(testRel, 5+n)
		c.change(testRel, 5+n) // again is no further one
	}
	c.truncate(testRel, 6)
	c.change(other, 1)
	c.change(other, 2)
	err := c.try(wal.Record{Rmgr: pg.RmGeneric, Blocks: []wal.Block{block(other, 3, false)}})
	require.ErrorIs(t, err, ErrIncomplete)
	require.ErrorContains(t, err, "over 3 blocks")
	require.ErrorIs(t, c.endBackup(start), ErrIncomplete)

	c = recovering(t, Recovery{})
	start = c.lsn
	c.i.recovery.most = 3
	for range 5 {
		for n := range uint32(3) {
			c.change(other, n)
		}
		c.drop(other)
	}
	require.NoError(t, c.endBackup(start))
}

// TestRecoveryLeavesSizes: such a record does not make or extend a relation.
func TestRecoveryLeavesSizes(t *testing.T) {
	c := recovering(t, Recovery{})
	other := page.RelTag{Spc: 1663, DB: 5, Rel: 20000}
	c.change(testRel, 5)
	c.change(other, 0)
	require.EqualValues(t, 2, c.size(testRel))
	there, err := c.snapshot().RelExists(context.Background(), other)
	require.NoError(t, err)
	require.False(t, there)
}

// TestRecoveryOfTornPages: a page whose checksum was wrong must be replaced by a record that needs nothing of it.
func TestRecoveryOfTornPages(t *testing.T) {
	for name, x := range map[string]struct {
		records func(c *crafted)
		ok      bool
	}{
		"nothing":    {func(*crafted) {}, false},
		"changed":    {func(c *crafted) { c.change(testRel, 0) }, false},
		"made new":   {func(c *crafted) { c.init(testRel, 0) }, true},
		"cut":        {func(c *crafted) { c.truncate(testRel, 0) }, true},
		"cut behind": {func(c *crafted) { c.truncate(testRel, 1) }, false},
		"dropped":    {func(c *crafted) { c.drop(testRel) }, true},
		"whole page": {func(c *crafted) {
			b := block(testRel, 0, false)
			b.HasImage, b.Apply, b.Image = true, true, bytes.Repeat([]byte{0}, pg.BlockSize)
			c.put(wal.Record{Rmgr: pg.RmGeneric, Blocks: []wal.Block{b}})
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := recovering(t, Recovery{Suspect: []page.Key{testRel.Block(0)}})
			start := c.lsn
			x.records(c)
			err := c.endBackup(start)
			if x.ok {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrIncomplete)
			require.ErrorContains(t, err, "checksum")
		})
	}
}

// TestRecoveryOfAStandbysBackup: it has no record of its end, and is whole where the control file says.
func TestRecoveryOfAStandbysBackup(t *testing.T) {
	c := recovering(t, Recovery{Redo: 8, End: craftedStart + 64*5})
	c.change(testRel, 0)
	require.Zero(t, c.i.Consistent())
	c.change(testRel, 0)
	require.Equal(t, craftedStart+64*5, c.i.Consistent())
}
