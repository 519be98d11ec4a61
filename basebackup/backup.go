package basebackup

import (
	"context"
	"fmt"
	"io"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
)

// backup is one call of Full.
type backup struct {
	ctx  context.Context // of that call
	src  datadir.Reader
	o    Options
	out  *archive
	lsn  page.LSN // the state written: the end of the last record
	prev page.LSN // where that record begins
	snap *datadir.Snapshot

	control    *control.File // as it goes into the archive
	checkpoint control.CheckPoint
	tli        uint32 // PostgreSQL's timeline
	checksums  bool
	next       nextNumbers
	wal        []wal.Segment

	origins    []datadir.Origin
	dbs        []database
	slrus      []slruSegment
	lastOffset uint32 // stored in the last slot of the page of multixact offsets written last
}

// nextNumbers are the numbers that will be given out next.
type nextNumbers struct {
	xid   uint32
	multi MultixactLimits
}

// Full writes the cluster that src holds as of Options.LSN to w, as a tar archive. An archive is whole only
// if the error is nil; if it is not, what was written does not start.
//
// The error names what could not be read: a block whose redo is not supported fails the backup.
func Full(ctx context.Context, w io.Writer, src datadir.Reader, o Options) (Result, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return Result{}, fmt.Errorf("base backup: %w", err)
	}
	b := &backup{ctx: ctx, src: src, o: o, out: newArchive(ctx, w, o)}
	err := b.run()
	r := Result{LSN: b.lsn, Files: b.out.files, Bytes: b.out.out.n}
	if err != nil {
		return r, fmt.Errorf("base backup at %s: %w", o.LSN, err)
	}
	return r, nil
}

// run plans everything that can be planned, so that most of what may be wrong is found before the first
// byte is written, and then writes: what makes the server start comes last.
func (b *backup) run() error {
	for _, stage := range []func() error{
		b.findRecord, b.planControl, b.planSLRUs, b.planRelations,
		b.writeFrame, b.writeClusterFiles, b.writeHistories, b.writeAuxFiles, b.writeOrigins,
		b.writeTwoPhase, b.writeTablespaces, b.writeSLRUs, b.writeDatabases,
		b.writeControl, b.writeWAL, b.out.close,
	} {
		if err := stage(); err != nil {
			return err
		}
	}
	return nil
}

// findRecord settles which state it is.
func (b *backup) findRecord() error {
	record, _, err := datadir.At(b.src, b.o.LSN, b.o.Version).RecordBefore(b.ctx, b.o.LSN)
	if err != nil {
		return err
	}
	b.lsn, b.prev = record.End, record.Start
	b.snap = datadir.At(b.src, b.lsn, b.o.Version)
	return nil
}

func (b *backup) planRelations() (err error) {
	if b.origins, err = b.snap.Origins(b.ctx); err != nil {
		return err
	}
	if b.dbs, err = planDatabases(b.ctx, b.snap); err != nil {
		return err
	}
	b.out.total = totalBytes(b.dbs)
	return nil
}

// writeFrame writes what every data directory has.
func (b *backup) writeFrame() error {
	for _, d := range directories {
		if err := b.out.dir(d); err != nil {
			return err
		}
	}
	if b.o.Version >= pg.V17 {
		if err := b.out.dir(summariesDir); err != nil {
			return err
		}
	}
	return b.out.file(versionName, []byte(b.o.Version.VersionFile()))
}
