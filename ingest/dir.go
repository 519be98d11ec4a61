package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg/wal"
)

// Progress says how far Dir is.
type Progress struct {
	LSN     page.LSN // end of the last record taken in
	Records int64
	Bytes   int64 // of WAL, from where Dir began
	// End is where the WAL of the directory ends at most, or until if that is lower; 0 if unknown.
	End page.LSN
}

// Result is what Dir took in.
type Result struct {
	LSN     page.LSN // end of the last record
	Records int64
	Bytes   int64 // of WAL
}

// progressEvery is how many records pass between two calls of progress.
const progressEvery = 8192

// Dir takes in the WAL segments of a directory, pg_wal or an archive of it, from the store's last record on.
// It stops at the last record that ends at or before until (0: everything), or where the WAL ends, and
// stores all of it. A missing segment, a truncated one and one of another cluster are refused before anything
// is stored; a record broken in the middle is an error that leaves the records before it stored, and so is
// WAL that ends before until (ErrUntil). progress, if set, is called now and then from this goroutine.
func (i *Ingester) Dir(ctx context.Context, dir string, until page.LSN, progress func(Progress)) (Result, error) {
	start := i.LSN()
	result := func() Result {
		return Result{i.LSN(), i.stats.Records, int64(i.LSN() - start)}
	}
	before := i.stats.Records
	if until != 0 && until <= start {
		return Result{LSN: start}, nil
	}
	r, err := wal.OpenDir(dir, wal.DirOptions{
		Version: i.o.Version, Start: start, Prev: i.m.Prev(), Until: until,
		SegSize: i.o.SegSize, SystemID: i.o.SystemID, Timeline: i.cp.c.Timeline(),
	})
	if err != nil {
		return Result{LSN: start}, err
	}
	defer r.Close()
	if err := r.Survey(ctx); err != nil {
		return Result{LSN: start}, err
	}
	if i.o.History == nil {
		i.o.History = func(tli uint32) ([]byte, error) { return os.ReadFile(filepath.Join(dir, wal.HistoryFileName(tli))) }
		defer func() { i.o.History = nil }()
	}
	end := r.End()
	if until != 0 && (end == 0 || until < end) {
		end = until
	}
	var rec wal.Record
	for {
		ok, err := r.Next(ctx, &rec)
		if err == nil && ok {
			err = i.Record(ctx, &rec)
		}
		if (err != nil || !ok) && i.err == nil {
			err = errors.Join(err, i.Commit(ctx))
		}
		res := result()
		res.Records -= before
		if err != nil {
			return res, err
		}
		if !ok {
			return res, fulfilled(r, until)
		}
		if progress != nil && res.Records%progressEvery == 0 {
			progress(Progress{LSN: res.LSN, Records: res.Records, Bytes: res.Bytes, End: end})
		}
	}
}

// ErrUntil marks WAL that ends before the LSN up to which it was to be taken in.
var ErrUntil = errors.New("WAL ends too early")

// fulfilled reports an error if the WAL ended before until. Behind the last record there may be padding and a
// page header: an LSN in them is not beyond it.
func fulfilled(r *wal.DirReader, until page.LSN) error {
	const alignment = 8
	if until == 0 || r.Stopped() == nil || wal.RecordStart(r.LSN(), r.SegSize())+alignment > until {
		return nil
	}
	return fmt.Errorf("%w: its last whole record ends at %s, before %s (%w); what there is was taken in: "+
		"ask for an LSN up to that, or ingest again when more WAL is there", ErrUntil, r.LSN(), until, r.Stopped())
}

// timeline keeps the history of a timeline that begins with this record, so that base backups give it back.
func (i *Ingester) timeline(ctx context.Context, tli uint32) error {
	if tli == i.cp.c.Timeline() || i.o.History == nil || i.cp.neon {
		return nil
	}
	name := wal.HistoryFileName(tli)
	b, err := i.o.History(tli)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, err = wal.ParseHistory(tli, b)
	}
	if err != nil {
		return fmt.Errorf("history of timeline %d (%s): %w", tli, name, err)
	}
	return i.m.PutClusterFile(ctx, historyFile(name), b)
}
