package basebackup

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
)

// backup is one call of Write.
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
	last       control.CheckPoint // as the server wrote it; for a standby
	label      label
	shutdown   bool   // the last record is a shutdown's checkpoint; for a compute
	tli        uint32 // PostgreSQL's timeline
	checksums  bool
	next       nextNumbers
	wal        []wal.Segment
	given      []walFile // of Options.WAL
	walEnd     page.LSN  // of the last record in wal

	origins    []datadir.Origin
	dbs        []database
	changes    map[page.RelTag]*changedFork // of forks that the parent has; nil but for an incremental backup
	slrus      []slruSegment
	lastOffset uint32 // stored in the last slot of the page of multixact offsets written last
}

// nextNumbers are the numbers that will be given out next.
type nextNumbers struct {
	xid   uint32
	multi MultixactLimits
}

// Write writes the cluster that src holds as of Options.LSN to w, as a tar archive. An archive is whole only
// if the error is nil; if it is not, what was written does not start.
//
// The error names what could not be read: a block whose redo is not supported fails the backup.
func Write(ctx context.Context, w io.Writer, src datadir.Reader, o Options) (Result, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return Result{}, fmt.Errorf("base backup: %w", err)
	}
	written := &countingWriter{w: w}
	compressor, err := o.Compression.writer(written)
	if err != nil {
		return Result{}, fmt.Errorf("base backup: %w", err)
	}
	b := &backup{ctx: ctx, src: src, o: o, out: newArchive(ctx, compressor, o)}
	// The compressor is closed after an error too: it has goroutines.
	err = errors.Join(b.run(), compressor.Close())
	r := Result{LSN: b.lsn, Files: b.out.files, Bytes: written.n}
	if err != nil {
		return r, fmt.Errorf("base backup at %s: %w", o.LSN, err)
	}
	return r, nil
}

func (b *backup) run() error {
	for _, stage := range b.stages() {
		if err := stage(); err != nil {
			return err
		}
	}
	return nil
}

// findRecord settles which state it is. What Neon wrote has no index of records, and a compute needs none: the LSN is
// taken for a record's end then.
func (b *backup) findRecord() error {
	record, _, err := datadir.At(b.src, b.o.LSN, b.o.Version).RecordBefore(b.ctx, b.o.LSN)
	if b.o.Format == FormatCompute && datadir.IsNotFound(err) {
		record, err = datadir.RecordSpan{End: b.o.LSN}, nil
	}
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
	if b.dbs, err = planDatabases(b.ctx, b.snap, b.o.Format); err != nil {
		return err
	}
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
