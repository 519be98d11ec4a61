package ingest

import (
	"context"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/xlogrec"
)

// blocks puts the next version of every block that the record names: the page itself where the record
// consists of it, else the record.
func (i *Ingester) blocks(ctx context.Context, rec *wal.Record) error {
	plain := rec.Rmgr == pg.RmXLOG && (rec.Info == xlogrec.XLOGFPI || rec.Info == xlogrec.XLOGFPIForHint)
	for n := range rec.Blocks {
		b := &rec.Blocks[n]
		i.stats.Blocks++
		if ok, err := i.admit(ctx, rec, b, b.WillInit || b.HasImage && b.Apply); err != nil {
			return err
		} else if !ok {
			continue
		}
		if plain && b.HasImage && b.Apply && b.Compression == wal.Uncompressed && len(b.Image) > 0 {
			if err := i.putImage(ctx, rec, b); err != nil {
				return err
			}
			continue
		}
		init := b.WillInit || b.HasImage && b.Apply
		if init {
			i.stats.Inits++
		}
		if err := i.m.PutBlockRecord(ctx, b.Rel, b.Blkno, init, rec.Raw); err != nil {
			return err
		}
	}
	return nil
}

func (i *Ingester) putImage(ctx context.Context, rec *wal.Record, b *wal.Block) error {
	if err := b.RestoreImage(i.image[:]); err != nil {
		return err
	}
	if p := bufpage.Page(i.image[:]); !p.IsNew() {
		p.SetLSN(rec.End)
	}
	i.stats.Images++
	return i.m.PutBlockImage(ctx, b.Rel, b.Blkno, i.image[:])
}

// clearVM puts the clearing of map bits that a heap record implies. A map that does not reach the block has
// no bit set, so there is nothing to clear.
func (i *Ingester) clearVM(ctx context.Context, rec *wal.Record) error {
	c, err := xlogrec.ParseVMClear(i.o.Version, i.o.Flavour, rec.Rmgr, rec.Info, rec.Main)
	if err != nil || !c.New && !c.Old {
		return err
	}
	vm, newBlock, oldBlock := c.HeapBlocks(rec)
	if newBlock == page.NoBlock && oldBlock == page.NoBlock {
		return nil
	}
	size, ok, err := i.m.RelSize(ctx, vm)
	if err != nil || !ok {
		return err
	}
	v := page.Value{Kind: page.KindClearVM, NewHeapBlock: page.NoBlock, OldHeapBlock: page.NoBlock, Flags: c.Flags}
	newPage, oldPage := uint32(page.NoBlock), uint32(page.NoBlock)
	if p := newBlock / xlogrec.VMHeapBlocksPerPage; newBlock != page.NoBlock && p < size {
		v.NewHeapBlock, newPage = newBlock, p
	}
	if p := oldBlock / xlogrec.VMHeapBlocksPerPage; oldBlock != page.NoBlock && p < size {
		v.OldHeapBlock, oldPage = oldBlock, p
	}
	if newPage == page.NoBlock && oldPage == page.NoBlock {
		return nil
	}
	i.stats.VMClear++
	if newPage == oldPage || oldPage == page.NoBlock {
		return i.m.PutBlockValue(ctx, vm, newPage, &v)
	}
	if newPage != page.NoBlock {
		only := v
		only.OldHeapBlock = page.NoBlock
		if err := i.m.PutBlockValue(ctx, vm, newPage, &only); err != nil {
			return err
		}
		v.NewHeapBlock = page.NoBlock
	}
	return i.m.PutBlockValue(ctx, vm, oldPage, &v)
}
