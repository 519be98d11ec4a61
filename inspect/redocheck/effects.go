package redocheck

import (
	"context"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/xlogrec"
)

// withoutBlock does what a record changes without a block reference.
func (r *run) withoutBlock(ctx context.Context, rec *wal.Record) error {
	switch rec.Rmgr {
	case pg.RmHeap, pg.RmHeap2:
		return r.clearVM(ctx, rec)
	case pg.RmSMGR:
		if rec.Op() == xlogrec.SmgrTruncate {
			return r.truncate(ctx, rec)
		}
	case pg.RmXact:
		return r.dropRelations(rec)
	case pg.RmDBase:
		return r.database(rec)
	case pg.RmXLOG:
		if rec.Op() == xlogrec.XLOGParameterChange && r.pages.base != nil {
			p, err := control.ParseParameterChange(rec.Main)
			if err != nil {
				return err
			}
			r.checksums = r.pages.base.checksums || p.WALLogHints
		}
	}
	return nil
}

// clearVM clears the map bits of heap pages that are no longer all visible or all frozen.
func (r *run) clearVM(ctx context.Context, rec *wal.Record) error {
	c, err := xlogrec.ParseVMClear(r.o.Version, pg.Stock, rec.Rmgr, rec.Info, rec.Main)
	if err != nil || !c.New && !c.Old {
		return err
	}
	vm, newBlock, oldBlock := c.HeapBlocks(rec)
	if newBlock == oldBlock {
		oldBlock = page.NoBlock
	}
	for _, heap := range []uint32{newBlock, oldBlock} {
		if heap == page.NoBlock {
			continue
		}
		v := page.Value{Kind: page.KindClearVM, NewHeapBlock: heap, OldHeapBlock: page.NoBlock, Flags: c.Flags}
		if err := r.changeVM(ctx, vm, heap/xlogrec.VMHeapBlocksPerPage, rec.End, v); err != nil {
			return err
		}
	}
	return nil
}

// changeVM applies a change to a map page that is there; one that is not has no bit set.
func (r *run) changeVM(ctx context.Context, vm page.RelTag, block uint32, lsn page.LSN, v page.Value) error {
	base, err := r.pages.get(vm, block)
	if err != nil || base == nil {
		return err
	}
	out, err := r.redo(ctx, vm, block, lsn, base, v)
	if err != nil {
		return err
	}
	return r.pages.put(vm, block, out)
}

// truncate shortens the forks that a record names (smgr_redo of catalog/storage.c).
func (r *run) truncate(ctx context.Context, rec *wal.Record) error {
	t, err := xlogrec.ParseSmgrTruncate(rec.Main)
	if err != nil {
		return err
	}
	if t.Flags&xlogrec.TruncateHeap != 0 {
		r.pages.truncate(t.Rel, t.Blocks)
	}
	if t.Flags&xlogrec.TruncateFSM != 0 {
		// No record builds on an older free space map: each brings it whole.
		r.pages.truncate(t.Rel.WithFork(page.ForkFSM), 0)
	}
	if t.Flags&xlogrec.TruncateVM == 0 {
		return nil
	}
	vm := t.Rel.WithFork(page.ForkVM)
	keep, within := t.Blocks/xlogrec.VMHeapBlocksPerPage, t.Blocks%xlogrec.VMHeapBlocksPerPage
	if within != 0 {
		v := page.Value{
			Kind:      page.KindTruncateVM,
			TruncByte: uint64(within / xlogrec.VMHeapBlocksPerByte),
			TruncBits: uint64(within % xlogrec.VMHeapBlocksPerByte * xlogrec.VMBitsPerHeapBlock),
		}
		if err := r.changeVM(ctx, vm, keep, rec.End, v); err != nil {
			return err
		}
		keep++
	}
	r.pages.truncate(vm, keep)
	return nil
}

// dropRelations forgets the relations whose files the end of a transaction removes.
func (r *run) dropRelations(rec *wal.Record) error {
	switch rec.Info & xlogrec.XactOpMask {
	case xlogrec.XactCommit, xlogrec.XactAbort, xlogrec.XactCommitPrepared, xlogrec.XactAbortPrepared:
	default:
		return nil
	}
	x, err := xlogrec.ParseXactEnd(r.o.Version, rec.Info, rec.Main)
	if err != nil {
		return err
	}
	for i := range x.Rels.Len() {
		rel := x.Rels.At(i)
		for f := page.ForkMain; f <= page.ForkInit; f++ {
			r.pages.truncate(rel.WithFork(f), 0)
		}
	}
	return nil
}

// database forgets a dropped database, and gives a copied one the pages of its template.
func (r *run) database(rec *wal.Record) error {
	switch op := xlogrec.DBaseOperation(r.o.Version, rec.Op()); op {
	case xlogrec.DBaseFileCopy:
		c, err := xlogrec.ParseDBaseCreate(op, rec.Main)
		if err != nil {
			return err
		}
		return r.pages.copyDatabase(database{c.Spc, c.DB}, database{c.SrcSpc, c.SrcDB})
	case xlogrec.DBaseDrop:
		d, err := xlogrec.ParseDBaseDrop(rec.Main)
		if err != nil {
			return err
		}
		for i := range d.Spcs.Len() {
			r.pages.dropDatabase(database{d.Spcs.At(i), d.DB})
		}
	}
	return nil
}
