package ingest

import (
	"context"
	"fmt"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/xlogrec"
)

// smgr handles relation forks that are made or cut.
func (i *Ingester) smgr(ctx context.Context, rec *wal.Record) error {
	switch rec.Op() {
	case xlogrec.SmgrCreate:
		rel, err := xlogrec.ParseSmgrCreate(rec.Main)
		if err != nil {
			return err
		}
		i.stats.Created++
		return i.m.CreateRelation(ctx, rel)
	case xlogrec.SmgrTruncate:
		t, err := xlogrec.ParseSmgrTruncate(rec.Main)
		if err != nil {
			return err
		}
		return i.truncate(ctx, t)
	}
	return unknownOp(rec)
}

// unknownOp refuses a record whose operation no supported version has: what it changes is not known.
func unknownOp(rec *wal.Record) error {
	return fmt.Errorf("%w: no such operation of this resource manager", xlogrec.ErrMalformed)
}

// truncate shortens the forks that t names (smgr_redo of catalog/storage.c).
func (i *Ingester) truncate(ctx context.Context, t xlogrec.Truncation) error {
	if t.Flags&xlogrec.TruncateHeap != 0 {
		i.cut(t.Rel, t.Blocks)
		if err := i.m.TruncateRelation(ctx, t.Rel, t.Blocks); err != nil {
			return err
		}
	}
	if t.Flags&xlogrec.TruncateFSM != 0 {
		if err := i.truncateFSM(ctx, t); err != nil {
			return err
		}
	}
	if t.Flags&xlogrec.TruncateVM != 0 {
		return i.truncateVM(ctx, t)
	}
	return nil
}

// Layout of a free space map (storage/freespace/freespace.c): a tree of three levels, whose leaf pages
// have one slot per heap block.
const (
	fsmSlotsPerPage = 4069
	fsmLevels       = 3
)

// fsmPage is the physical page of the leaf that holds a heap block's slot: pages are in depth-first order.
func fsmPage(heapBlock uint32) uint32 {
	leaf, n := heapBlock/fsmSlotsPerPage, uint32(0)
	for range fsmLevels {
		n += leaf + 1
		leaf /= fsmSlotsPerPage
	}
	return n - 1
}

// truncateFSM cuts the map behind the page of the last block. Slots for removed blocks on that page would
// offer space that is not there, so the page is emptied; the map is only a hint.
func (i *Ingester) truncateFSM(ctx context.Context, t xlogrec.Truncation) error {
	fsm := t.Rel.WithFork(page.ForkFSM)
	keep := fsmPage(t.Blocks)
	size, ok, err := i.m.RelSize(ctx, fsm)
	if err != nil || !ok {
		return err
	}
	if t.Blocks%fsmSlotsPerPage != 0 {
		if keep < size {
			var zero [pg.BlockSize]byte
			if err := i.m.PutBlockImage(ctx, fsm, keep, zero[:]); err != nil {
				return err
			}
		}
		keep++
	}
	return i.m.TruncateRelation(ctx, fsm, keep)
}

// truncateVM clears the bits of the removed blocks on the last page that stays and cuts what is behind
// (visibilitymap_prepare_truncate).
func (i *Ingester) truncateVM(ctx context.Context, t xlogrec.Truncation) error {
	vm := t.Rel.WithFork(page.ForkVM)
	size, ok, err := i.m.RelSize(ctx, vm)
	if err != nil || !ok {
		return err
	}
	keep, within := t.Blocks/xlogrec.VMHeapBlocksPerPage, t.Blocks%xlogrec.VMHeapBlocksPerPage
	if within != 0 {
		if keep >= size {
			return nil
		}
		v := page.Value{
			Kind:      page.KindTruncateVM,
			TruncByte: uint64(within / xlogrec.VMHeapBlocksPerByte),
			TruncBits: uint64(within % xlogrec.VMHeapBlocksPerByte * xlogrec.VMBitsPerHeapBlock),
		}
		if err := i.m.PutBlockValue(ctx, vm, keep, &v); err != nil {
			return err
		}
		keep++
	}
	return i.m.TruncateRelation(ctx, vm, keep)
}

// relMap stores a new relation map.
func (i *Ingester) relMap(ctx context.Context, rec *wal.Record) error {
	m, err := xlogrec.ParseRelMap(i.o.Version, rec.Main)
	if err != nil {
		return err
	}
	return i.m.PutRelMap(ctx, m.Spc, m.DB, m.File)
}

// tblspc keeps the paths of tablespaces, so that a base backup can make them.
func (i *Ingester) tblspc(ctx context.Context, rec *wal.Record) error {
	op := rec.Op()
	if op != xlogrec.TblspcCreate && op != xlogrec.TblspcDrop {
		return unknownOp(rec)
	}
	oid, path, err := xlogrec.ParseTblspc(op, rec.Main)
	if err != nil {
		return err
	}
	if op == xlogrec.TblspcDrop {
		return i.m.PutClusterFile(ctx, datadir.TablespaceFile(oid), nil)
	}
	return i.m.PutClusterFile(ctx, datadir.TablespaceFile(oid), []byte(path))
}
