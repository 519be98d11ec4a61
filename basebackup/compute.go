package basebackup

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
)

// planCompute makes what Neon's computes start from: a control file of a server that was shut down, whose checkpoint is
// where WAL goes on, and a WAL segment without a record.
func (b *backup) planCompute() error {
	if err := b.readControl(); err != nil {
		return err
	}
	b.tli = b.checkpoint.Timeline()
	b.next = nextNumbersOf(b.checkpoint)
	b.shutdown = b.isShutdown()
	segSize := b.control.WALSegSize()
	s, err := wal.EmptySegment(b.o.Version, segSize, b.control.SystemID(), b.tli, b.lsn)
	if err != nil {
		return err
	}
	b.wal = []wal.Segment{s}
	b.checkpoint.SetRedo(wal.RecordStart(b.lsn, segSize))
	b.control.SetState(control.ShutDown)
	b.control.SetCheckPointLSN(0) // there is no such record: the compute takes the copy
	b.control.SetCheckPoint(b.checkpoint)
	return nil
}

// isShutdown reports whether the last record is a shutdown's checkpoint. Of a Neon compute the stored checkpoint's redo
// pointer is then the end of that record, of a stock server its start.
func (b *backup) isShutdown() bool {
	redo := b.checkpoint.Redo()
	return redo != page.InvalidLSN && (redo == b.lsn || redo == b.prev)
}

// computeDirectories are those of a compute, in Neon's order.
var computeDirectories = []string{
	"global", "pg_wal/archive_status", "pg_commit_ts", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_subtrans",
	"pg_twophase", "pg_multixact", "pg_multixact/members", "pg_multixact/offsets", "base", "base/1", "pg_replslot", "pg_tblspc",
	"pg_stat", "pg_stat_tmp", "pg_xact", "pg_logical", "pg_logical/snapshots", "pg_logical/mappings",
}

// computeHBA lets in who is in the compute's own machine; its manager adds those who come from elsewhere.
const computeHBA = `# A compute's: connections within its machine are trusted, its manager adds the others.
local   all             all                                     trust
host    all             all             127.0.0.1/32            trust
host    all             all             ::1/128                 trust
local   replication     all                                     trust
host    replication     all             127.0.0.1/32            trust
host    replication     all             ::1/128                 trust
`

// writeComputeFrame writes the directories and the configuration. There is no postgresql.conf: the compute's manager has it.
func (b *backup) writeComputeFrame() error {
	dirs := computeDirectories
	if b.o.Version >= pg.V17 {
		dirs = append(dirs[:len(dirs):len(dirs)], summariesDir)
	}
	for _, d := range dirs {
		if err := b.out.dir(d); err != nil {
			return err
		}
	}
	for _, f := range []datadir.File{
		{Path: "pg_hba.conf", Content: []byte(computeHBA)}, {Path: "pg_ident.conf"}, {Path: "postgresql.auto.conf"},
		{Path: versionName, Content: []byte(b.o.Version.VersionFile())},
	} {
		if err := b.out.keptFile(f.Path, f.Content); err != nil {
			return err
		}
	}
	return nil
}

const (
	slotDir       = "pg_replslot/"
	statsPath     = "pg_stat/pgstat.stat"
	slotRestart   = 96 // offset of restart_lsn in a replication slot's file (replication/slot.h)
	restartPath   = "restart.lsn"
	lsnFileLength = 8
)

// writeComputeAux writes the auxiliary files: slots but for a replica, and statistics only as they were left at a shutdown.
// The least restart_lsn of the slots says from where on the compute needs WAL.
func (b *backup) writeComputeAux() error {
	files, err := b.snap.AuxFiles(b.ctx)
	if err != nil {
		return err
	}
	restart := page.LSN(0)
	for _, f := range files {
		isSlot := strings.HasPrefix(f.Path, slotDir)
		if f.Path == originsPath || isSlot && b.o.Replica || f.Path == statsPath && !b.shutdown {
			continue
		}
		if isSlot {
			at, err := slotRestartLSN(f)
			if err != nil {
				return err
			}
			if restart == 0 || at < restart {
				restart = at
			}
		}
		if err := b.writeAux(f); err != nil {
			return err
		}
	}
	if restart == 0 {
		return nil
	}
	return b.out.file(restartPath, binary.LittleEndian.AppendUint64(nil, uint64(restart)))
}

// slotRestartLSN reads from where on a replication slot needs WAL.
func slotRestartLSN(f datadir.File) (page.LSN, error) {
	if len(f.Content) < slotRestart+lsnFileLength {
		return 0, fmt.Errorf("%w: replication slot %q has %d bytes", datadir.ErrCorrupt, f.Path, len(f.Content))
	}
	return page.LSN(binary.LittleEndian.Uint64(f.Content[slotRestart:])), nil
}

// signalPaths tell a compute what it is and where the record before its first one begins. The second is the first's old name.
var signalPaths = [...]string{"neon.signal", "zenith.signal"}

func (b *backup) writeSignals() error {
	prev := "invalid" // the compute may not write: its first record could not point back
	switch {
	case b.o.PrevLSN != page.InvalidLSN:
		prev = b.o.PrevLSN.String()
	case b.o.BranchPoint:
		prev = "none" // it points to nothing, as a first record does
	}
	for _, name := range signalPaths {
		if err := b.out.file(name, []byte("PREV LSN: "+prev)); err != nil {
			return err
		}
	}
	return nil
}
