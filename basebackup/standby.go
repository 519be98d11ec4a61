package basebackup

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
)

// ErrNoCheckpoint says that the last checkpoint before an LSN is not known as its server wrote it.
var ErrNoCheckpoint = errors.New("the last checkpoint is not known")

// planStandby makes the control file of a server that is about to replay WAL from its last checkpoint on, and is
// consistent at the backup's LSN.
func (b *backup) planStandby() error {
	if err := b.readControl(); err != nil {
		return err
	}
	b.tli = b.checkpoint.Timeline()
	b.next = nextNumbersOf(b.checkpoint)
	b.last = b.control.CheckPoint()
	if at := b.control.CheckPointLSN(); at == 0 || b.last.Redo() != b.checkpoint.Redo() {
		return fmt.Errorf("%w: at LSN %s it has redo pointer %s, and the one that the control file names, at %s, has %s. "+
			"The WAL of a Neon compute cannot be followed by a stock server; WAL that an older Strata took in does not tell where the record is",
			ErrNoCheckpoint, b.lsn, b.checkpoint.Redo(), at, b.last.Redo())
	}
	b.label = label{start: b.last.Redo(), checkpoint: b.control.CheckPointLSN(), tli: b.last.Timeline(), standby: true}
	b.control.SetState(control.InArchiveRecovery)
	b.control.ClearBackup()
	b.control.SetMinRecoveryPoint(b.lsn, b.tli)
	return nil
}

// standbySignal makes a server a standby.
const standbySignal = "standby.signal"

func (b *backup) writeStandbySignal() error { return b.out.file(standbySignal, nil) }

// preparedBefore leaves those of the prepared transactions that the server had written files for when its last
// checkpoint began. Replay makes the others.
func (b *backup) preparedBefore(xids []uint64) ([]uint64, error) {
	if b.o.Format != FormatStandby || len(xids) == 0 {
		return xids, nil
	}
	at := b.last.Redo()
	if at == b.control.CheckPointLSN() { // a shutdown's: nothing happens before its end, where a timeline may begin
		at = wal.ShutdownCheckpointEnd(at, b.control.WALSegSize())
	}
	at = min(at, b.lsn)
	before, err := datadir.At(b.src, at, b.o.Version).TwoPhase(b.ctx)
	if err != nil {
		return nil, fmt.Errorf("prepared transactions at the beginning of the last checkpoint: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(xids), func(x uint64) bool { return !slices.Contains(before, x) }), nil
}

// nextNumbersOf takes what will be given out next from a checkpoint.
func nextNumbersOf(cp control.CheckPoint) nextNumbers {
	return nextNumbers{xid: uint32(cp.NextXid()),
		multi: MultixactLimits{Oldest: cp.OldestMulti(), Next: cp.NextMulti(), NextOffset: cp.NextMultiOffset()}}
}
