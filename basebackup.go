package strata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/stratapg/strata/basebackup"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg/control"
)

// BackupFormat says for whom a base backup is.
type BackupFormat = basebackup.Format

// The formats; package basebackup says what each is.
const (
	BackupFull    = basebackup.FormatFull
	BackupCompute = basebackup.FormatCompute
	BackupStandby = basebackup.FormatStandby
)

// BackupCompression says how an archive is compressed.
type BackupCompression = basebackup.Compression

// BaseBackupOptions say which state to write and how.
type BaseBackupOptions struct {
	// LSN is the state; default: the last. Inside a record, in padding or at a page header it means the
	// last whole record before it.
	LSN page.LSN
	// Wait is how long to wait for LSN where the timeline has not come to it yet; default: not at all, which makes it
	// ErrFutureLSN.
	Wait time.Duration
	// Format says for whom it is; default BackupFull.
	Format BackupFormat
	// Replica says that the compute will not write, and needs no replication slots. BackupCompute only.
	Replica bool
	// NoSLRUs leaves out what a compute may ask for segment by segment. BackupCompute only.
	NoSLRUs bool
	// PrevLSN is where the record before LSN begins, if the caller knows; it must be what the timeline knows, if that
	// does. By default only a backup of the last state tells it, since a compute may write behind that one alone.
	// BackupCompute only.
	PrevLSN page.LSN
	// Manifest makes the backup one that incremental ones can follow: it has a backup_manifest, and a server starts from
	// it as from one of pg_basebackup. BackupFull only.
	Manifest bool
	// IncrementalFrom, if set, makes an incremental backup that follows the one of that LSN: it has those blocks of relations
	// that have changed since, and everything else. It must be one that can be read. BackupFull only.
	IncrementalFrom page.LSN
	// WAL, if set, has segments of the server's WAL in its root, as pg_wal or an archive of it, os.DirFS for example: those from the
	// last checkpoint's REDO pointer up to LSN go into the backup, so that the primary need not have them. BackupStandby only.
	WAL fs.FS
	// Compression is of the whole archive, as it is written; default none.
	Compression BackupCompression
	// Progress, if set, is called now and then, from the goroutine that called BaseBackup.
	Progress func(BaseBackupProgress)
}

// BaseBackupProgress says how far a base backup is.
type BaseBackupProgress struct {
	Files      int   // files done
	Bytes      int64 // of the archive, before it is compressed
	TotalBytes int64 // about as many will be written, 0 if unknown
}

// BaseBackupResult is what was written.
type BaseBackupResult struct {
	LSN   page.LSN // the state: the end of the last whole record at or before the LSN asked for
	Files int      // entries that are files
	Bytes int64    // length of the archive as it was written: compressed
}

// BaseBackup writes the whole cluster as of an LSN to w, as a tar from which a stock PostgreSQL of its
// version starts, or what Format says. After an error what was written is of no use. Where Options.BackupCache has the backup,
// a w that is a BackupSender may get its file, so that a socket may send it unread.
func (tl *Timeline) BaseBackup(ctx context.Context, w io.Writer, o BaseBackupOptions) (BaseBackupResult, error) {
	if s := tl.Shard(); !s.Alone() {
		return BaseBackupResult{}, fmt.Errorf("base backup of one shard: %w: all of the tenant's %d have to be asked; use a ShardSet", ErrWrongShard, s.Count)
	}
	return baseBackup(ctx, w, tl, []*Timeline{tl}, o)
}

// BaseBackup writes the whole cluster as of an LSN, as Timeline.BaseBackup does.
func (tl *ShardedTimeline) BaseBackup(ctx context.Context, w io.Writer, o BaseBackupOptions) (BaseBackupResult, error) {
	return baseBackup(ctx, w, tl, tl.parts, o)
}

// backupSource is one timeline, or all shards' of one.
type backupSource interface {
	datadir.Reader
	LastRecordLSN() page.LSN
	ResolveLSN(ctx context.Context, lsn page.LSN) (page.LSN, error)
}

func baseBackup(ctx context.Context, w io.Writer, src backupSource, parts []*Timeline, o BaseBackupOptions) (BaseBackupResult, error) {
	lsn := o.LSN
	if lsn == page.InvalidLSN {
		lsn = src.LastRecordLSN()
	}
	if err := waitFor(ctx, parts, lsn, o.Wait); err != nil {
		return BaseBackupResult{}, err
	}
	lsn, err := src.ResolveLSN(ctx, lsn)
	if err != nil {
		return BaseBackupResult{}, err
	}
	// It reads many times, and what it reads is not to be collected meanwhile.
	release, err := holdAll(ctx, parts, lsn)
	if err != nil {
		return BaseBackupResult{}, err
	}
	defer release()
	if o.IncrementalFrom != page.InvalidLSN {
		release, err := holdAll(ctx, parts, o.IncrementalFrom)
		if err != nil {
			return BaseBackupResult{}, fmt.Errorf("incremental backup: %w", err)
		}
		defer release()
	}
	bo, err := backupOptions(parts[0], o, lsn)
	if err != nil {
		return BaseBackupResult{}, err
	}
	request := backupRequest{src, parts, bo}
	if r, done, err := parts[0].backups.serve(ctx, w, request); done {
		return r, err
	}
	r, err := request.write(ctx, w)
	return BaseBackupResult{LSN: r.LSN, Files: r.Files, Bytes: r.Bytes}, err
}

// holdAll holds the state that lsn means on all parts.
func holdAll(ctx context.Context, parts []*Timeline, lsn page.LSN) (release func(), err error) {
	var held []func()
	release = func() {
		for _, r := range held {
			r()
		}
	}
	for _, p := range parts {
		_, r, err := p.t.Hold(ctx, lsn)
		if err != nil {
			release()
			return nil, err
		}
		held = append(held, r)
	}
	return release, nil
}

var (
	_ basebackup.Changes = (*Timeline)(nil)
	_ basebackup.Changes = (*ShardedTimeline)(nil)
)

// EachChanged calls fn for the keys of a range that have a version above from, and at or below to: in no particular order,
// some more than once. It reads indexes and no values. Where from lies below the cutoff of garbage collection, and is
// held, it may give keys that have not changed.
func (tl *Timeline) EachChanged(ctx context.Context, keys page.Range, from, to page.LSN, fn func(k page.Key) error) error {
	return tl.t.EachChanged(ctx, keys, from, to, fn)
}

// EachChanged is Timeline.EachChanged of all shards.
func (tl *ShardedTimeline) EachChanged(ctx context.Context, keys page.Range, from, to page.LSN, fn func(k page.Key) error) error {
	for _, p := range tl.parts {
		if err := p.EachChanged(ctx, keys, from, to, fn); err != nil {
			return err
		}
	}
	return nil
}

// waitFor returns once lsn can be read on all parts, or says how far they have come.
func waitFor(ctx context.Context, parts []*Timeline, lsn page.LSN, length time.Duration) error {
	if length <= 0 {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	for _, p := range parts {
		err := p.WaitLSN(waiting, lsn)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return fmt.Errorf("%w: waited %s for LSN %s, timeline %s has come to %s", ErrFutureLSN, length, lsn, p.t.Meta().Name, p.LastRecordLSN())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// prevOf gives where the last record before lsn begins, if that may be told: a compute that is told writes on from there.
func prevOf(tl *Timeline, lsn, given page.LSN) (page.LSN, error) {
	known := page.InvalidLSN
	if last, prev := tl.LastRecordLSN(), tl.PrevRecordLSN(); last == lsn && tl.LastRecordLSN() == last {
		known = prev
	}
	if given == page.InvalidLSN {
		return known, nil
	}
	if known != page.InvalidLSN && given != known {
		return 0, fmt.Errorf("base backup at LSN %s: the record before begins at %s, PrevLSN is %s", lsn, known, given)
	}
	return given, nil
}

// backupOptions says what to write of a state, in words of package basebackup.
func backupOptions(tl *Timeline, o BaseBackupOptions, lsn page.LSN) (bo basebackup.Options, err error) {
	m := tl.t.Meta()
	bo = basebackup.Options{LSN: lsn, Version: m.Version, Format: o.Format, Replica: o.Replica, NoSLRUs: o.NoSLRUs, Compression: o.Compression,
		Manifest: o.Manifest, Parent: o.IncrementalFrom, WAL: o.WAL}
	if o.Format == BackupFull {
		bo.Mark = control.MarkOf(m.Timeline)
	}
	if o.Format == BackupCompute {
		bo.BranchPoint = lsn == tl.t.Joint()
		if bo.PrevLSN, err = prevOf(tl, lsn, o.PrevLSN); err != nil {
			return bo, err
		}
	}
	if o.Progress != nil {
		bo.Progress = func(p basebackup.Progress) {
			o.Progress(BaseBackupProgress{Files: p.Files, Bytes: p.Bytes, TotalBytes: p.Total})
		}
	}
	return bo, nil
}
