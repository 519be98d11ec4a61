package basebackup

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Revision goes up with every change of the bytes that Write makes of the same state and the same Options: whoever keeps them
// may give them as long as it stays.
const Revision = 2

// Options say which state to write and how. LSN and Version must be set; the rest have useful zeros.
type Options struct {
	// LSN is the state wanted. Inside a record, in padding or at a page header it means the end of the last
	// whole record before it. One beyond what the source holds is the source's to refuse; and on a branch
	// one at which the branch has no record of its own yet is to be given as the branch point or below
	// (see datadir.Snapshot.RecordBefore).
	LSN page.LSN
	// Version is the cluster's major version.
	Version pg.Version
	// Format says for whom the backup is; default FormatFull.
	Format Format
	// Replica says that the compute will not write: replication slots are left out. FormatCompute only.
	Replica bool
	// NoSLRUs leaves out the segments of pg_xact and pg_multixact, for a compute that asks for them one by one.
	// FormatCompute only.
	NoSLRUs bool
	// PrevLSN is where the record before LSN begins, as the compute's signal file is to say: it may write then.
	// FormatCompute only; a server's own records are found by the index of records.
	PrevLSN page.LSN
	// BranchPoint says, where PrevLSN is not set, that nothing was written to the timeline since it branched at LSN: the
	// compute may write a first record. FormatCompute only.
	BranchPoint bool
	// Manifest makes the backup one that incremental ones can follow: with a backup_manifest and a backup_label. FormatFull
	// only.
	Manifest bool
	// Mark, if not 0, is put into the generated checkpoint, so that WAL that begins with it tells from which timeline's backup its
	// server was started (control.MarkOf). FormatFull only.
	Mark uint32
	// Parent, if set, makes an incremental backup: of the LSN of the one that it follows, full or incremental, as
	// Result.LSN said it. Of relations it has the blocks that have changed since; it has a manifest, too. The
	// source must be Changes. FormatFull only.
	Parent page.LSN
	// WAL, if set, has segments of the server's WAL in its root, as pg_wal or an archive of it: those from the last checkpoint's REDO
	// pointer up to LSN go into the backup, so that nobody else has to have them. FormatStandby only.
	WAL fs.FS
	// Compression is of the whole archive, as it is written; default none.
	Compression Compression
	// ModTime stands in every tar entry. The zero value means the beginning of 2000, so that archives of
	// the same state are equal.
	ModTime time.Time
	// RangeBlocks is how many blocks one read asks for; default 256 (2 MiB). Small values cost a search per
	// read, large ones memory: up to Readers+ReadAhead ranges are held.
	RangeBlocks int
	// Readers is the number of goroutines that read; default 4. One reader makes the archive as slow as the
	// sum of all reads.
	Readers int
	// ReadAhead is how many ranges may be ready before the writer wants them; default 4.
	ReadAhead int
	// Progress, if set, is called after each file of the archive and every few MiB within one, from the
	// goroutine that called Write.
	Progress func(Progress)
}

// Progress says how far a backup is.
type Progress struct {
	Files int   // finished entries that are files
	Bytes int64 // written to the archive, before it is compressed
	Total int64 // bytes of all files of relations, known from the start; the archive gets somewhat longer
}

// Result is what was written.
type Result struct {
	LSN   page.LSN // the state: end of the last whole record at or before Options.LSN
	Files int      // entries that are files
	Bytes int64    // length of the archive as it was written: compressed
}

// Defaults and bounds of Options.
const (
	defaultRangeBlocks = 256
	maxRangeBlocks     = 8192
	defaultReaders     = 4
	maxReaders         = 64
	defaultReadAhead   = 4
	maxReadAhead       = 256
)

// defaultModTime is the beginning of PostgreSQL's time.
var defaultModTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (o Options) withDefaults() Options {
	if o.ModTime.IsZero() {
		o.ModTime = defaultModTime
	}
	// The tar form for old readers has whole seconds.
	o.ModTime = o.ModTime.UTC().Truncate(time.Second)
	if o.RangeBlocks == 0 {
		o.RangeBlocks = defaultRangeBlocks
	}
	if o.Readers == 0 {
		o.Readers = defaultReaders
	}
	if o.ReadAhead == 0 {
		o.ReadAhead = defaultReadAhead
	}
	return o
}

// manifest reports whether the backup lists its files.
func (o *Options) manifest() bool { return o.Manifest || o.Parent != page.InvalidLSN }

// validate reports all faults at once.
func (o Options) validate() error {
	var errs []error
	if o.LSN == page.InvalidLSN {
		errs = append(errs, errors.New("basebackup.Options.LSN is not set"))
	}
	if !o.Version.Supported() {
		errs = append(errs, fmt.Errorf("basebackup.Options.Version %d: %w", o.Version, pg.ErrUnsupportedVersion))
	}
	bound := func(name string, v, limit int) {
		if v < 1 || v > limit {
			errs = append(errs, fmt.Errorf("basebackup.Options.%s is %d: want 1 to %d", name, v, limit))
		}
	}
	bound("RangeBlocks", o.RangeBlocks, maxRangeBlocks)
	bound("Readers", o.Readers, maxReaders)
	bound("ReadAhead", o.ReadAhead, maxReadAhead)
	if err := o.Compression.validate(); err != nil {
		errs = append(errs, fmt.Errorf("basebackup.Options.Compression: %w", err))
	}
	if o.Format < FormatFull || o.Format > FormatStandby {
		errs = append(errs, fmt.Errorf("basebackup.Options.Format is %d: want 0 to %d", o.Format, FormatStandby))
	}
	if o.Format != FormatFull && o.Mark != 0 {
		errs = append(errs, fmt.Errorf("basebackup.Options.Mark is for a generated checkpoint, and Format is %s", o.Format))
	}
	if o.Format != FormatCompute && (o.Replica || o.NoSLRUs || o.PrevLSN != 0 || o.BranchPoint) {
		errs = append(errs, fmt.Errorf("basebackup.Options.Replica, NoSLRUs, PrevLSN and BranchPoint are for a compute, and Format is %s", o.Format))
	}
	if o.Format != FormatStandby && o.WAL != nil {
		errs = append(errs, fmt.Errorf("basebackup.Options.WAL is for a standby, and Format is %s", o.Format))
	}
	if o.Format != FormatFull && o.manifest() {
		errs = append(errs, fmt.Errorf("basebackup.Options.Manifest and Parent are for a full server, and Format is %s", o.Format))
	}
	return errors.Join(errs...)
}
