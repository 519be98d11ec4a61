package basebackup

import (
	"fmt"

	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
)

// planControl makes the control file and the WAL that it points at, from the control file and the checkpoint
// as they are at the backup's LSN.
func (b *backup) planControl() error {
	if err := b.readControl(); err != nil {
		return err
	}
	cp := b.checkpoint
	b.tli = cp.Timeline()
	b.next = nextNumbersOf(cp)
	cp.SetPrevTimeline(b.tli)
	cp.SetOldestActiveXid(0) // nothing runs after a shutdown
	cp.SetMark(b.o.Mark)
	if ok, err := b.hasTimestamps(cp.OldestCommitTsXid(), cp.NewestCommitTsXid()); err != nil {
		return err
	} else if !ok {
		// A server with track_commit_timestamp on starts a new range at its next transaction.
		cp.SetOldestCommitTsXid(0)
		cp.SetNewestCommitTsXid(0)
	}
	w, err := wal.BuildShutdownCheckpoint(wal.ShutdownCheckpoint{
		Version: b.o.Version, SegSize: b.control.WALSegSize(), SystemID: b.control.SystemID(), Timeline: b.tli,
		LSN: b.lsn, Prev: b.prev, CheckPoint: cp[:], BackupEnd: b.o.manifest()})
	if err != nil {
		return err
	}
	if b.checkpoint, err = control.ParseCheckPoint(w.CheckPoint); err != nil {
		return err
	}
	b.wal, b.walEnd = w.Segments, w.End
	b.label = label{start: w.Start, checkpoint: w.Start, tli: b.tli}
	b.control.SetState(control.ShutDown)
	b.control.SetCheckPointLSN(w.Start)
	b.control.SetCheckPoint(b.checkpoint)
	b.control.SetMinRecoveryPoint(0, 0)
	b.control.ClearBackup()
	return nil
}

// readControl reads the control file and the checkpoint.
func (b *backup) readControl() error {
	raw, err := b.snap.ControlFile(b.ctx)
	if err != nil {
		return err
	}
	if b.control, err = control.Parse(raw); err != nil {
		return fmt.Errorf("control file at LSN %s: %w", b.lsn, err)
	}
	if v := b.control.Version(); v != b.o.Version {
		return fmt.Errorf("control file at LSN %s is of PostgreSQL %d, Options.Version is %d", b.lsn, v, b.o.Version)
	}
	b.checksums = b.control.ChecksumVersion() != 0
	if raw, err = b.snap.CheckPoint(b.ctx); err != nil {
		return err
	}
	if b.checkpoint, err = control.ParseCheckPoint(raw); err != nil {
		return fmt.Errorf("checkpoint at LSN %s: %w", b.lsn, err)
	}
	return nil
}

func (b *backup) writeControl() error { return b.out.file(controlFilePath, b.control.Encode()) }

// writeWAL writes the segment of the generated checkpoint, or both where it crosses a segment's end.
func (b *backup) writeWAL() error {
	for i := range b.wal {
		s := &b.wal[i]
		name := walDir + s.Name
		if err := b.out.begin(name, s.Size); err != nil {
			return err
		}
		if _, err := s.WriteTo(b.out); err != nil {
			return err
		}
		if err := b.out.end(name); err != nil {
			return err
		}
	}
	return nil
}
