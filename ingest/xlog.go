package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/xlogrec"
)

// ErrMinimalWAL refuses WAL that leaves changes out.
var ErrMinimalWAL = errors.New("the server runs with wal_level=minimal, under which WAL leaves changes out: set wal_level to replica or logical, restart, stop it cleanly and import the cluster anew")

// xlog handles what pg_control keeps (xlog_redo of access/transam/xlog.c).
func (i *Ingester) xlog(ctx context.Context, rec *wal.Record) error {
	switch rec.Op() {
	case xlogrec.XLOGCheckpointShutdown, xlogrec.XLOGCheckpointOnline:
		return i.checkpointRecord(ctx, rec)
	case xlogrec.XLOGNextOID:
		oid, err := xlogrec.ParseNextOID(rec.Main)
		if err == nil {
			i.cp.c.SetNextOid(oid)
		}
		return err
	case xlogrec.XLOGParameterChange:
		return i.parameterChange(ctx, rec)
	case xlogrec.XLOGFPWChange:
		on, err := xlogrec.ParseFPWChange(rec.Main)
		if err == nil && !i.cp.neon {
			i.cp.c.SetFullPageWrites(on)
		}
		return err
	case xlogrec.XLOGEndOfRecovery:
		return i.endOfRecovery(ctx, rec)
	case xlogrec.XLOGCheckpointRedo:
		if i.o.Version < pg.V17 {
			return unknownOp(rec)
		}
		level, err := xlogrec.ParseCheckpointRedo(rec.Main)
		if err != nil {
			return err
		}
		return i.walLevel(control.WALLevel(level))
	case xlogrec.XLOGBackupEnd:
		return i.backupEnd(rec)
	case xlogrec.XLOGNoop, xlogrec.XLOGSwitch, xlogrec.XLOGRestorePoint,
		xlogrec.XLOGFPIForHint, xlogrec.XLOGFPI, xlogrec.XLOGOverwriteContrec:
		return nil // nothing beyond the blocks that are named
	}
	return unknownOp(rec)
}

// walLevel notes the server's wal_level, which only 17 keeps in checkpoints.
func (i *Ingester) walLevel(level control.WALLevel) error {
	if level == control.Minimal {
		return ErrMinimalWAL
	}
	if i.o.Version >= pg.V17 {
		i.cp.c.SetWALLevel(level)
	}
	return nil
}

func (i *Ingester) checkpointRecord(ctx context.Context, rec *wal.Record) error {
	c, err := control.ParseCheckPoint(rec.Main)
	if err != nil {
		return fmt.Errorf("%w: %w", xlogrec.ErrMalformed, err)
	}
	if i.o.Version >= pg.V17 && c.WALLevel() == control.Minimal {
		return ErrMinimalWAL
	}
	c.SetMark(0) // it has said what it had to, see Origin
	if err := i.timeline(ctx, c.Timeline()); err != nil {
		return err
	}
	shutdown := rec.Op() == xlogrec.XLOGCheckpointShutdown
	if shutdown && i.o.Shutdown != nil {
		i.stop = rec.End
	}
	if i.cp.neon {
		prepared, err := i.m.TwoPhase(ctx)
		if err == nil {
			i.cp.neonCheckpoint(c, rec.End, shutdown, prepared)
		}
		return err
	}
	if shutdown {
		i.cp.c = c // nothing is running: the counters are exact
	} else {
		i.cp.online(c)
	}
	i.ctl.SetCheckPointLSN(rec.Start) // as the server's own control file has it: recovery of this state would begin there
	i.ctl.SetCheckPoint(c)
	i.m.PutControlFile(i.ctl.Encode())
	return nil
}

// parameterChange updates the settings in pg_control.
func (i *Ingester) parameterChange(ctx context.Context, rec *wal.Record) error {
	p, err := control.ParseParameterChange(rec.Main)
	if err != nil {
		return fmt.Errorf("%w: %w", xlogrec.ErrMalformed, err)
	}
	if err := i.walLevel(p.WALLevel); err != nil {
		return err
	}
	old := i.ctl.Settings()
	if p == old {
		return nil
	}
	if p.TrackCommitTimestamp != old.TrackCommitTimestamp && !i.cp.neon {
		if err := i.switchCommitTs(ctx, p.TrackCommitTimestamp); err != nil {
			return err
		}
	}
	i.ctl.SetSettings(p)
	i.m.PutControlFile(i.ctl.Encode())
	return nil
}

// endOfRecovery follows a switch of the timeline that no checkpoint accompanies.
func (i *Ingester) endOfRecovery(ctx context.Context, rec *wal.Record) error {
	e, err := xlogrec.ParseEndOfRecovery(i.o.Version, rec.Main)
	if err != nil {
		return err
	}
	if err := i.timeline(ctx, e.ThisTimeline); err != nil {
		return err
	}
	if !i.cp.neon {
		i.cp.c.SetTimeline(e.ThisTimeline)
		i.cp.c.SetPrevTimeline(e.PrevTimeline)
	}
	if e.HasWALLevel {
		return i.walLevel(control.WALLevel(e.WALLevel))
	}
	return nil
}

// standby handles the server's list of running transactions.
func (i *Ingester) standby(rec *wal.Record) error {
	if rec.Op() != xlogrec.StandbyRunningXacts {
		return nil // locks and invalidations
	}
	x, err := xlogrec.ParseRunningXacts(rec.Main)
	if err != nil {
		return err
	}
	if !i.cp.neon {
		i.cp.advanceXidTo(x.NextXid)
		i.cp.advanceXid(x.LatestCompletedXid)
		for n := range x.Xids.Len() {
			i.cp.advanceXid(x.Xids.At(n))
		}
	}
	i.cp.c.SetOldestActiveXid(x.OldestRunningXid)
	return nil
}
