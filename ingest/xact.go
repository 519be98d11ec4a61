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

// xact handles the ends of transactions (xact_redo of access/transam/xact.c).
func (i *Ingester) xact(ctx context.Context, rec *wal.Record) error {
	switch op := rec.Info & xlogrec.XactOpMask; op {
	case xlogrec.XactCommit, xlogrec.XactAbort, xlogrec.XactCommitPrepared, xlogrec.XactAbortPrepared:
		return i.xactEnd(ctx, rec, op)
	case xlogrec.XactPrepare:
		return i.prepare(ctx, rec)
	case xlogrec.XactAssignment:
		a, err := xlogrec.ParseAssignment(rec.Main)
		if err != nil {
			return err
		}
		i.cp.advanceXid(a.Top)
		i.advanceXids(a.Subxacts)
		return nil
	case xlogrec.XactInvalidations:
		return nil
	}
	return unknownOp(rec)
}

func (i *Ingester) advanceXids(xids xlogrec.Xids) {
	for n := range xids.Len() {
		i.cp.advanceXid(xids.At(n))
	}
}

func (i *Ingester) xactEnd(ctx context.Context, rec *wal.Record, op uint8) error {
	x, err := xlogrec.ParseXactEnd(i.o.Version, rec.Info, rec.Main)
	if err != nil {
		return err
	}
	xid := rec.Xid
	prepared := op == xlogrec.XactCommitPrepared || op == xlogrec.XactAbortPrepared
	if prepared {
		if xid = x.TwoPhaseXid; xid < pg.FirstNormalXid {
			return fmt.Errorf("%w: end of a prepared transaction without its id", xlogrec.ErrMalformed)
		}
	}
	i.cp.advanceXid(xid)
	i.advanceXids(x.Subxacts)
	i.m.EndTransaction(x.Time, op == xlogrec.XactAbort || op == xlogrec.XactAbortPrepared)
	kind := page.KindClogAborted
	if op == xlogrec.XactCommit || op == xlogrec.XactCommitPrepared {
		kind = page.KindClogCommitted
		if err := i.commitTimestamps(ctx, rec, xid, x.Subxacts); err != nil {
			return err
		}
	}
	if err := i.setStatus(ctx, kind, xid, x.Subxacts, x.Time); err != nil {
		return err
	}
	for n := range x.Rels.Len() {
		rel := x.Rels.At(n)
		i.dropped(func(r page.RelTag) bool { return r.WithFork(rel.Fork) == rel })
		if err := i.m.DropRelation(ctx, rel); err != nil {
			return err
		}
	}
	if x.HasOrigin {
		if err := i.advanceOrigin(ctx, rec.Origin, x.OriginLSN, false); err != nil {
			return err
		}
	}
	if !prepared {
		return nil
	}
	key, err := i.twoPhaseXid(xid)
	if err != nil {
		return err
	}
	return i.m.DropTwoPhase(ctx, key)
}

// prepare stores the state of a prepared transaction.
func (i *Ingester) prepare(ctx context.Context, rec *wal.Record) error {
	p, err := xlogrec.ParsePrepare(i.o.Version, rec.Main)
	if err != nil {
		return err
	}
	if p.Xid < pg.FirstNormalXid {
		return fmt.Errorf("%w: prepared transaction with id %d", xlogrec.ErrMalformed, p.Xid)
	}
	i.cp.advanceXid(p.Xid)
	i.advanceXids(p.Subxacts)
	key, err := i.twoPhaseXid(p.Xid)
	if err != nil {
		return err
	}
	if rec.Origin != 0 {
		if err := i.advanceOrigin(ctx, rec.Origin, p.OriginLSN, false); err != nil {
			return err
		}
	}
	return i.m.AddTwoPhase(ctx, key, rec.Main)
}

// twoPhaseXid is the id that the version's pg_twophase files are named by.
func (i *Ingester) twoPhaseXid(xid uint32) (uint64, error) {
	if !datadir.WideTwoPhase(i.o.Version) {
		return uint64(xid), nil
	}
	full, ok := i.cp.fullXid(xid)
	if !ok {
		return 0, fmt.Errorf("%w: prepared transaction %d lies ahead of the next transaction id", xlogrec.ErrMalformed, xid)
	}
	return full, nil
}

// noTrackOrigin is DoNotReplicateId of replication/origin.h, which marks work that has no origin to track.
const noTrackOrigin = 0xFFFF

// advanceOrigin moves the progress of a replication origin, backward only if forced (replorigin_advance).
func (i *Ingester) advanceOrigin(ctx context.Context, id uint16, lsn page.LSN, force bool) error {
	if id == 0 || id == noTrackOrigin {
		return nil
	}
	return i.m.AdvanceOrigin(ctx, id, lsn, force)
}

// replOrigin handles progress that is set and origins that are dropped.
func (i *Ingester) replOrigin(ctx context.Context, rec *wal.Record) error {
	switch rec.Op() {
	case xlogrec.OriginSet:
		o, err := xlogrec.ParseOriginSet(rec.Main)
		if err != nil {
			return err
		}
		return i.advanceOrigin(ctx, o.ID, o.LSN, o.Force)
	case xlogrec.OriginDrop:
		id, err := xlogrec.ParseOriginDrop(rec.Main)
		if err != nil {
			return err
		}
		i.m.PutOrigin(id, page.InvalidLSN)
		return nil
	}
	return unknownOp(rec)
}

// neonFilePrefix marks messages by which a Neon compute stores a file of its data directory.
const neonFilePrefix = "neon-file:"

// logicalMessage takes the files that Neon's computes send; other messages are the users' own.
func (i *Ingester) logicalMessage(ctx context.Context, rec *wal.Record) error {
	if i.o.Flavour != pg.Neon || rec.Op() != xlogrec.LogicalMessage {
		return nil
	}
	m, err := xlogrec.ParseLogicalMessage(rec.Main)
	if err != nil {
		return err
	}
	if len(m.Prefix) <= len(neonFilePrefix) || m.Prefix[:len(neonFilePrefix)] != neonFilePrefix {
		return nil
	}
	return i.m.PutAuxFile(ctx, m.Prefix[len(neonFilePrefix):], m.Content)
}
