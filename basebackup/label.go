package basebackup

import (
	"fmt"
	"strings"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg/wal"
)

// backup_label tells a server where recovery begins, whatever pg_control says (access/transam/xlogbackup.c).
const labelPath = "backup_label"

// label is what is in a backup_label.
type label struct {
	start      page.LSN // of the WAL to replay
	checkpoint page.LSN // start of the checkpoint's record
	tli        uint32   // PostgreSQL's timeline of both
	parent     page.LSN // start of the WAL of the backup that this one follows, 0 if it is a full one
	parentTLI  uint32
	standby    bool // the end of the backup is pg_control's minRecoveryPoint, and no record of the WAL
}

// labelTime is how a backup_label writes times.
const labelTime = "2006-01-02 15:04:05 MST"

func (b *backup) writeLabel() error {
	from := "primary"
	if b.label.standby {
		from = "standby"
	}
	var s strings.Builder
	fmt.Fprintf(&s, labelStart+"%s (file %s)\n", b.label.start, wal.SegmentName(b.label.tli, b.label.start, b.control.WALSegSize()))
	fmt.Fprintf(&s, "CHECKPOINT LOCATION: %s\n", b.label.checkpoint)
	s.WriteString("BACKUP METHOD: streamed\n")
	fmt.Fprintf(&s, "BACKUP FROM: %s\n", from)
	fmt.Fprintf(&s, "START TIME: %s\n", b.o.ModTime.Format(labelTime))
	s.WriteString("LABEL: strata base backup\n")
	fmt.Fprintf(&s, labelTLI+"%d\n", b.label.tli)
	if b.label.parent != 0 {
		fmt.Fprintf(&s, "%s%s\n%s%d\n", labelParentLSN, b.label.parent, labelParentTLI, b.label.parentTLI)
	}
	return b.out.file(labelPath, []byte(s.String()))
}

// writeFullLabel writes the label of a full server's backup, which needs one only as a part of a chain.
func (b *backup) writeFullLabel() error {
	if !b.o.manifest() {
		return nil
	}
	return b.writeLabel()
}

// What a backup_label of an incremental backup ends with; a server that finds it refuses to start.
const (
	labelStart     = "START WAL LOCATION: "
	labelTLI       = "START TIMELINE: "
	labelParentLSN = "INCREMENTAL FROM LSN: "
	labelParentTLI = "INCREMENTAL FROM TLI: "
)
