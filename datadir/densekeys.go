package datadir

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/page"
)

// DenseKeys lists the dense keys that exist at the snapshot's LSN, in no particular order: what Neon calls the dense key space
// (pageserver/src/pgdatadir_mapping.rs, collect_keyspace). SLRUs are left out of whose directory keeps says no; a nil keeps keeps
// all. It wraps page.ErrNotFound where there is no data directory at all, and ErrCorrupt where what one names is not there.
func (s *Snapshot) DenseKeys(ctx context.Context, keeps func(page.Key) bool) ([]page.Range, error) {
	dbs, err := s.Databases(ctx)
	if err != nil {
		return nil, err
	}
	out := []page.Range{one(page.DBDirKey), one(page.ControlFileKey), one(page.CheckpointKey), one(page.TwoPhaseDirKey)}
	for _, db := range dbs {
		if out, err = s.databaseKeys(ctx, db, out); err != nil {
			return nil, missing(err)
		}
	}
	for _, kind := range page.SLRUs {
		if keeps != nil && !keeps(kind.DirKey()) {
			continue
		}
		if out, err = s.slruKeys(ctx, kind, out); err != nil {
			return nil, missing(err)
		}
	}
	xids, err := s.TwoPhase(ctx)
	if err != nil && !errors.Is(err, page.ErrNotFound) {
		return nil, err
	}
	for _, xid := range xids {
		out = append(out, one(page.TwoPhaseKey(xid)))
	}
	return out, nil
}

func one(k page.Key) page.Range { return page.Range{Start: k, End: k.Next()} }

// missing keeps a directory that names what is not there from being taken for none.
func missing(err error) error {
	if errors.Is(err, page.ErrNotFound) {
		return fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	return err
}

func (s *Snapshot) databaseKeys(ctx context.Context, db Database, out []page.Range) ([]page.Range, error) {
	out = append(out, one(page.RelMapKey(db.Spc, db.DB)), one(page.RelDirKey(db.Spc, db.DB)))
	rels, err := s.Relations(ctx, db.Spc, db.DB)
	if err != nil {
		return nil, err
	}
	sizes, err := s.RelSizes(ctx, rels)
	if err != nil {
		return nil, err
	}
	for i, r := range rels {
		out = append(out, r.Blocks(sizes[i]), one(r.SizeKey()))
	}
	return out, nil
}

func (s *Snapshot) slruKeys(ctx context.Context, kind page.SLRU, out []page.Range) ([]page.Range, error) {
	out = append(out, one(kind.DirKey()))
	segments, err := s.SLRUSegments(ctx, kind)
	if errors.Is(err, page.ErrNotFound) {
		return out, nil // not kept in this timeline
	}
	if err != nil {
		return nil, err
	}
	for _, n := range segments {
		pages, err := s.SLRUSegmentPages(ctx, kind, n)
		if err != nil {
			return nil, err
		}
		out = append(out, page.Range{Start: kind.Block(n, 0), End: kind.Block(n, pages)}, one(kind.SizeKey(n)))
	}
	return out, nil
}
