package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/stratapg/strata/ingest/source"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/xlogrec"
)

// Backup is what a base backup says of itself: WAL from Redo on makes one state of its files, which are from many
// moments.
type Backup struct {
	// Redo is from where WAL is replayed, CheckPoint the checkpoint record that says so, Timeline PostgreSQL's timeline
	// of both.
	Redo, CheckPoint page.LSN
	Timeline         uint32
	// End is, for a backup of a standby, where the files agree with each other at the earliest. It is 0 for that of a
	// primary, whose WAL has a record there.
	End page.LSN
	// Label is what the backup was called.
	Label string

	wal      fs.FS
	walLabel string
}

// Files that make a base backup what it is.
const (
	labelName         = "backup_label"
	tablespaceMapName = "tablespace_map"
)

// readLabel reads backup_label, if there is one (read_backup_label of access/transam/xlogrecovery.c).
func (d *DataDir) readLabel(ctx context.Context) error {
	b, err := d.readSmall(ctx, labelName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	d.Backup, err = parseLabel(b)
	if err != nil {
		return refuse(d.Dir, labelName, "%w", err)
	}
	return nil
}

func parseLabel(b []byte) (*Backup, error) {
	l := &Backup{}
	standby := false
	for line := range bytes.Lines(b) {
		key, value, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), ": ")
		var err error
		switch key {
		case "START WAL LOCATION":
			at, _, _ := strings.Cut(value, " ")
			l.Redo, err = page.ParseLSN(at)
		case "CHECKPOINT LOCATION":
			l.CheckPoint, err = page.ParseLSN(value)
		case "START TIMELINE":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 32)
			l.Timeline = uint32(n)
		case "BACKUP METHOD":
			if value != "streamed" {
				err = fmt.Errorf("a backup made by %.40q is not one of a running server", value)
			}
		case "BACKUP FROM":
			standby = value == "standby"
		case "LABEL":
			l.Label = value
		case "INCREMENTAL FROM LSN":
			err = errors.New("the backup is incremental: combine it with those that it builds on first (pg_combinebackup)")
		}
		if err != nil {
			return nil, fmt.Errorf("%.40q: %w", key, err)
		}
	}
	if l.Redo == 0 || !l.Redo.Aligned() || l.CheckPoint < l.Redo || !l.CheckPoint.Aligned() {
		return nil, fmt.Errorf("it names no checkpoint (its WAL begins at %s, the checkpoint at %s): the label is damaged, or from no server", l.Redo, l.CheckPoint)
	}
	if standby {
		l.End = l.CheckPoint // the control file says more
	}
	return l, nil
}

// startWAL finds the checkpoint that a base backup begins with, in its own WAL or in walDir, and puts it into the
// control file, as a server does that starts from the backup.
func (d *DataDir) startWAL(ctx context.Context, walDir fs.FS) error {
	b := d.Backup
	if b == nil {
		return nil
	}
	b.wal, b.walLabel = walDir, "the folder of WAL"
	if walDir == nil {
		entries, _ := d.files.in("pg_wal")
		b.wal, b.walLabel = source.FS(ctx, d.src, entries, "pg_wal"), d.Dir+"/pg_wal"
	}
	c, err := b.readCheckPoint(ctx, d)
	if err != nil {
		return fmt.Errorf("%w: the base backup's checkpoint at %s: %w", ErrDataDir, b.CheckPoint, err)
	}
	if b.Timeline == 0 {
		b.Timeline = c.Timeline()
	}
	if c.Timeline() != b.Timeline || c.Redo() != b.Redo {
		return refuse(d.Dir, labelName, "it says that WAL begins at %s on timeline %d, and the checkpoint record at %s: at %s on timeline %d",
			b.Redo, b.Timeline, b.CheckPoint, c.Redo(), c.Timeline())
	}
	if b.End != 0 {
		b.End = max(b.End, d.Control.MinRecoveryPoint())
	}
	d.LSN = b.Redo
	d.Control.SetCheckPointLSN(b.CheckPoint)
	d.Control.SetCheckPoint(c)
	d.Control.SetState(control.ShutDown)
	d.Control.SetMinRecoveryPoint(0, 0)
	d.Control.ClearBackup()
	return nil
}

// readCheckPoint reads the checkpoint record.
func (b *Backup) readCheckPoint(ctx context.Context, d *DataDir) (c control.CheckPoint, err error) {
	r, err := b.openWAL(d, b.CheckPoint)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var rec wal.Record
	ok, err := r.Next(ctx, &rec)
	switch {
	case err != nil:
		return c, err
	case !ok:
		return c, fmt.Errorf("%w: %w", ErrUntil, r.Stopped())
	}
	online := rec.Op() == xlogrec.XLOGCheckpointOnline
	if rec.Rmgr != pg.RmXLOG || !online && rec.Op() != xlogrec.XLOGCheckpointShutdown {
		return c, fmt.Errorf("a %s record is there, and no checkpoint", rec.Rmgr)
	}
	return control.ParseCheckPoint(rec.Main)
}

// openWAL opens the backup's WAL where a record begins.
func (b *Backup) openWAL(d *DataDir, at page.LSN) (*wal.DirReader, error) {
	return wal.OpenFS(b.wal, b.walLabel, wal.DirOptions{Version: d.Version, Start: at, SegSize: d.SegSize, SystemID: d.SystemID,
		Timeline: b.Timeline, Target: b.Timeline})
}

// Statuses of transactions (access/clog.h).
const (
	clogXactsPerByte = 4
	clogBits         = 2
	clogEnded        = 3 // mask of committed and aborted; both together are a subtransaction's
)

// hasEnded says whether a transaction of a base backup had ended when its part of the commit log was copied, or had not begun
// at the checkpoint.
func (d *DataDir) hasEnded(ctx context.Context, xid uint32) (bool, error) {
	c := d.Control.CheckPoint()
	if int32(xid-uint32(c.NextXid())) >= 0 {
		return true, nil
	}
	n := xid / xactsPerClogPage
	segment, block := n/pg.SLRUSegPages, n%pg.SLRUSegPages
	for _, f := range d.slrus[page.Clog] {
		if f.segment != segment || block >= f.pages {
			continue
		}
		r, err := d.src.Open(ctx, f.path)
		if err != nil {
			return false, err
		}
		var one [1]byte
		at := xid % xactsPerClogPage
		err = r.ReadAt(ctx, one[:], int64(block)*pg.BlockSize+int64(at/clogXactsPerByte))
		if err = errors.Join(err, r.Close()); err != nil {
			return false, refuse(d.Dir, f.path, "%w", err)
		}
		status := one[0] >> (at % clogXactsPerByte * clogBits) & clogEnded
		return status == 1 || status == 2, nil
	}
	return false, nil
}
