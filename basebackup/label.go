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
	standby    bool     // the end of the backup is pg_control's minRecoveryPoint, and no record of the WAL
}

// labelTime is how a backup_label writes times.
const labelTime = "2006-01-02 15:04:05 MST"

func (b *backup) writeLabel() error {
	from := "primary"
	if b.label.standby {
		from = "standby"
	}
	var s strings.Builder
	fmt.Fprintf(&s, "START WAL LOCATION: %s (file %s)\n", b.label.start, wal.SegmentName(b.label.tli, b.label.start, b.control.WALSegSize()))
	fmt.Fprintf(&s, "CHECKPOINT LOCATION: %s\n", b.label.checkpoint)
	s.WriteString("BACKUP METHOD: streamed\n")
	fmt.Fprintf(&s, "BACKUP FROM: %s\n", from)
	fmt.Fprintf(&s, "START TIME: %s\n", b.o.ModTime.Format(labelTime))
	s.WriteString("LABEL: strata base backup\n")
	fmt.Fprintf(&s, "START TIMELINE: %d\n", b.label.tli)
	return b.out.file(labelPath, []byte(s.String()))
}
