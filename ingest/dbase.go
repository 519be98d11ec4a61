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

// MaxCopyBlocks bounds the database that one CREATE DATABASE … STRATEGY FILE_COPY (or ALTER DATABASE … SET
// TABLESPACE) may copy: 2 GiB of pages. They all belong to one record, and so to one batch.
const MaxCopyBlocks = 2 << 30 / pg.BlockSize

// readsStore reports whether the record is one whose effect is computed from the store's content, so that
// everything before it has to be stored first.
func (i *Ingester) readsStore(rec *wal.Record) bool {
	return rec.Rmgr == pg.RmDBase && xlogrec.DBaseOperation(i.o.Version, rec.Op()) == xlogrec.DBaseFileCopy
}

// dbase handles databases that are made or dropped (dbase_redo of commands/dbcommands.c).
func (i *Ingester) dbase(ctx context.Context, rec *wal.Record) error {
	switch op := xlogrec.DBaseOperation(i.o.Version, rec.Op()); op {
	case xlogrec.DBaseFileCopy:
		c, err := xlogrec.ParseDBaseCreate(op, rec.Main)
		if err != nil {
			return err
		}
		return i.copyDatabase(ctx, c)
	case xlogrec.DBaseWALLog:
		_, err := xlogrec.ParseDBaseCreate(op, rec.Main)
		return err // its relation map and relations follow
	case xlogrec.DBaseDrop:
		d, err := xlogrec.ParseDBaseDrop(rec.Main)
		if err != nil {
			return err
		}
		for n := range d.Spcs.Len() {
			i.dropped(func(r page.RelTag) bool { return r.Spc == d.Spcs.At(n) && r.DB == d.DB })
			if err := i.m.DropDatabase(ctx, d.Spcs.At(n), d.DB); err != nil {
				return err
			}
		}
		return nil
	}
	return unknownOp(rec)
}

// copyDatabase makes a database of one tablespace out of another.
func (i *Ingester) copyDatabase(ctx context.Context, c xlogrec.DBaseCreate) error {
	src := i.m.Snapshot()
	dbs, err := src.Databases(ctx)
	if err != nil {
		return err
	}
	var from *datadir.Database
	for n := range dbs {
		if dbs[n].Spc == c.SrcSpc && dbs[n].DB == c.SrcDB {
			from = &dbs[n]
		}
	}
	// What was there under this name is replaced.
	if err := i.m.DropDatabase(ctx, c.Spc, c.DB); err != nil {
		return err
	}
	if from == nil { // a tablespace in which the source has an empty directory
		return nil
	}
	if from.HasRelMap {
		b, err := src.RelMap(ctx, c.SrcSpc, c.SrcDB)
		if err != nil {
			return err
		}
		if err := i.m.PutRelMap(ctx, c.Spc, c.DB, b); err != nil {
			return err
		}
	}
	rels, err := src.Relations(ctx, c.SrcSpc, c.SrcDB)
	if err != nil {
		return err
	}
	sizes, err := src.RelSizes(ctx, rels)
	if err != nil {
		return err
	}
	total := uint64(0)
	for _, n := range sizes {
		total += uint64(n)
	}
	if total > MaxCopyBlocks {
		return fmt.Errorf("database %d is copied from database %d as files: %d pages, at most %d can be taken in by one record; create it with STRATEGY WAL_LOG (PostgreSQL 15 and later), or import the cluster anew after this point", c.DB, c.SrcDB, total, MaxCopyBlocks)
	}
	for n, rel := range rels {
		if err := i.copyRelation(ctx, src, rel, page.RelTag{Spc: c.Spc, DB: c.DB, Rel: rel.Rel, Fork: rel.Fork}, sizes[n]); err != nil {
			return err
		}
	}
	return nil
}

// copyChunk is how many blocks are read at once.
const copyChunk = 512

func (i *Ingester) copyRelation(ctx context.Context, src *datadir.Snapshot, from, to page.RelTag, size uint32) error {
	if err := i.m.CreateRelation(ctx, to); err != nil {
		return err
	}
	shard, copied := datadir.ShardOf(i.store), int64(0)
	for b := uint32(0); b < size; b += copyChunk {
		n := min(copyChunk, size-b)
		keys := shard.Restrict(page.NewSet(page.Range{Start: from.Block(b), End: from.Block(b + n)}))
		if keys.Empty() {
			continue
		}
		err := i.store.GetVectored(ctx, keys, src.LSN(),
			func(k page.Key, v []byte, err error) error {
				if err == nil && len(v) != pg.BlockSize {
					err = fmt.Errorf("%w: %d bytes", datadir.ErrCorrupt, len(v))
				}
				if err != nil {
					return fmt.Errorf("copy %s: %w", k.Describe(), err)
				}
				copied++
				return i.m.PutBlockImage(ctx, to, k.F6, v)
			})
		if err != nil {
			return err
		}
	}
	if err := i.m.GrowRelation(ctx, to, size); err != nil {
		return err
	}
	if own := shard.Pages(to.Blocks(size)); copied != own {
		return fmt.Errorf("copy relation %s: %d of %d blocks are there", from, copied, own)
	}
	if got, _, err := i.m.RelSize(ctx, to); err != nil || got != size {
		return fmt.Errorf("copy relation %s: %d of %d blocks are there (%v)", from, got, size, err)
	}
	return nil
}
