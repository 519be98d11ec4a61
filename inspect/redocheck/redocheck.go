// Package redocheck checks redo against PostgreSQL itself, record by record: a server that runs with
// wal_consistency_checking=all puts into almost every record a copy of each page as it is after the
// change. Run redoes the records one by one, each on its own result so far, and compares.
//
// What the check proves and what not:
//
//   - Pages are compared under PostgreSQL's masks (package mask). Pages of visibility maps are compared
//     byte by byte, all but LSN and checksum, though PostgreSQL's own check takes them for free space.
//   - Copies that are there for the check alone are taken out of the record before it is redone. A copy
//     that PostgreSQL's recovery would restore too (full_page_writes) stays, and its page counts as equal
//     when it was restored right.
//   - Our own page is never replaced by the server's after a difference: an error shows again and again.
//     Where redo refuses the type of a record, there is no own page, so the server's copy takes its place
//     and the block counts as uncovered.
//   - What records change without naming a block is done as ingest does it: map bits cleared by heap
//     records, truncation, relations and databases dropped or copied.
//
// Memory is bounded: pages beyond Options.MaxPages lie in an unlinked temporary file.
package redocheck

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/walredo"
)

// Options say what to check. WALDir, Version and Redoer are required.
type Options struct {
	// WALDir holds the segments: a copy of pg_wal or an archive.
	WALDir string
	// Version of the server that wrote them.
	Version pg.Version
	// PGData is the data directory of the cluster, cleanly stopped, before the WAL. Records that end at or
	// before its checkpoint are skipped. Empty: pages are taken from their first copy in the WAL, which
	// leaves the record that has it unchecked.
	PGData string
	// Redoer is what is checked.
	Redoer walredo.Redoer
	// Until ends the check: no record that ends behind it is looked at. 0: all there are.
	Until page.LSN
	// MaxPages is the number of pages kept in memory, 8 KiB each; default 65536. Fewer means more I/O on a
	// temporary file.
	MaxPages int
	// MaxDifferences is how many differences are described in Report.First; default 20. All are counted.
	MaxDifferences int
	// Progress, if set, is called from time to time with the end of the last record checked and the end of
	// the WAL found.
	Progress func(at, end page.LSN)
}

// Defaults and the number of records between two looks at the context and calls of Progress.
const (
	defaultMaxPages       = 65536
	defaultMaxDifferences = 20
	progressEvery         = 4096
)

func (o Options) withDefaults() Options {
	if o.MaxPages <= 0 {
		o.MaxPages = defaultMaxPages
	}
	if o.MaxDifferences <= 0 {
		o.MaxDifferences = defaultMaxDifferences
	}
	if o.Progress == nil {
		o.Progress = func(_, _ page.LSN) {}
	}
	return o
}

// Validate reports what is wrong with the options.
func (o Options) Validate() error {
	var errs []error
	if o.WALDir == "" {
		errs = append(errs, errors.New("WALDir is empty: want a directory of WAL segments"))
	}
	if !o.Version.Supported() {
		errs = append(errs, fmt.Errorf("version %d: %w; want 14 to 17", o.Version, pg.ErrUnsupportedVersion))
	}
	if o.Redoer == nil {
		errs = append(errs, errors.New("the Redoer is nil: there is nothing to check"))
	}
	return errors.Join(errs...)
}

// Run checks the WAL and reports what it found; finding differences is no error. After an error the report
// covers the records up to Report.End.
func Run(ctx context.Context, o Options) (Report, error) {
	if err := o.Validate(); err != nil {
		return Report{}, fmt.Errorf("redo check: %w", err)
	}
	o = o.withDefaults()
	r, err := newRun(o)
	if err != nil {
		return Report{}, fmt.Errorf("redo check: %w", err)
	}
	err = r.records(ctx)
	if cerr := r.close(); err == nil {
		err = cerr
	}
	if err != nil {
		err = fmt.Errorf("redo check behind %s: %w", r.wal.LSN(), err)
	}
	return r.tally.report(r.start, r.wal.LSN()), err
}

// run is the state of one check.
type run struct {
	o     Options
	wal   *wal.DirReader
	start page.LSN
	pages *pages
	tally *tally

	checksums bool // hint bit changes are logged

	image [pg.BlockSize]byte
	out   []byte
	raw   []byte
	one   [1]walredo.Record
}

func newRun(o Options) (*run, error) {
	r := &run{o: o, tally: newTally(o), checksums: true, pages: newPages(o.MaxPages)}
	at := wal.DirOptions{Version: o.Version, Until: o.Until}
	if o.PGData == "" {
		start, err := firstRecord(o.WALDir, o.Version)
		if err != nil {
			return nil, err
		}
		at.Start = start
	} else {
		c, err := openCluster(o.PGData, o.Version)
		if err != nil {
			return nil, err
		}
		at.Start, at.Prev, at.SegSize, at.SystemID, at.Timeline = c.end, c.checkpoint, c.segSize, c.systemID, c.timeline
		r.checksums = c.logHints
		r.pages.base = c
	}
	r.start = at.Start
	d, err := wal.OpenDir(o.WALDir, at)
	if err != nil {
		return nil, errors.Join(err, r.pages.close())
	}
	r.wal = d
	return r, nil
}

func (r *run) close() error { return errors.Join(r.wal.Close(), r.pages.close()) }

func (r *run) records(ctx context.Context) error {
	var rec wal.Record
	for n := 0; ; n++ {
		if n%progressEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			r.o.Progress(r.wal.LSN(), r.wal.End())
		}
		ok, err := r.wal.Next(ctx, &rec)
		if err != nil {
			return err
		}
		if !ok {
			r.o.Progress(r.wal.LSN(), r.wal.LSN())
			return nil
		}
		if err := r.record(ctx, &rec); err != nil {
			return fmt.Errorf("%s %s record that ends at %s: %w", rec.Rmgr,
				wal.OpName(r.o.Version, rec.Rmgr, rec.Info), rec.End, err)
		}
	}
}

func (r *run) record(ctx context.Context, rec *wal.Record) error {
	counts := r.tally.record(rec)
	raw, err := r.strip(rec)
	if err != nil {
		return err
	}
	for i := range rec.Blocks {
		if err := r.block(ctx, rec, &rec.Blocks[i], raw, counts); err != nil {
			return err
		}
	}
	return r.withoutBlock(ctx, rec)
}
