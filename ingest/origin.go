package ingest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/xlogrec"
)

// ErrOrigin marks WAL that continues the store's last record and is another timeline's: of the server that a branch came from, or
// of one that was started from a branch's backup. Nothing of the record was stored. The message says what to do.
var ErrOrigin = errors.New("WAL of another timeline")

// Origin says whose WAL a store takes. Where a timeline branches, WAL of both goes on at one LSN, and points back to one
// record: what tells them apart is the checkpoint that was generated for the base backup from which a second server was
// started. It carries the mark of the backup's timeline (control.CheckPoint.Mark), and is that server's first record.
//
// WAL of Neon's computes has no such record: it is told apart by those who keep it, by timeline.
type Origin struct {
	// Marks are that of the timeline itself, then those of what it branches from. None: WAL of any origin is taken.
	Marks []uint32
	// Branch is where the timeline branches, 0 if it does not. Its first record there must be such a checkpoint, of its own or of
	// an ancestor's backup; or begin another of PostgreSQL's timelines, as a standby does that is promoted there.
	Branch page.LSN
}

// checkOrigin refuses a record that another timeline goes on with.
func (i *Ingester) checkOrigin(rec *wal.Record) error {
	o := &i.o.Origin
	if len(o.Marks) == 0 || i.cp.neon {
		return nil
	}
	first := o.Branch != 0 && i.m.LSN() == o.Branch
	var mark uint32
	began := rec.Rmgr == pg.RmXLOG && rec.Op() == xlogrec.XLOGEndOfRecovery
	if rec.Rmgr == pg.RmXLOG && rec.Op() == xlogrec.XLOGCheckpointShutdown {
		c, err := control.ParseCheckPoint(rec.Main)
		if err != nil {
			return fmt.Errorf("%w: %w", xlogrec.ErrMalformed, err)
		}
		mark, began = c.Mark(), c.Timeline() != c.PrevTimeline()
	}
	switch {
	case mark != 0 && mark == o.Marks[0], mark != 0 && first && slices.Contains(o.Marks, mark):
		return nil
	case mark != 0:
		return fmt.Errorf("%w: it begins with the checkpoint of another timeline's base backup, from which its server was started: "+
			"take it into that timeline, or into a branch made there", ErrOrigin)
	case first && !began:
		return fmt.Errorf("%w: nothing was written to the branch yet, and its own WAL begins with the checkpoint of a base backup of it, which this is not: "+
			"the WAL is that of the timeline from which it branches at %s. Start a server from a base backup of the branch and take that one's WAL; "+
			"or, where the branch is to go the way of its ancestor, say so (strata ingest --ancestor-wal)", ErrOrigin, o.Branch)
	}
	return nil
}
