package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/basebackup"
)

// backupFlags are the flags of basebackup beside the store's.
type backupFlags struct {
	storeFlags
	output  string
	format  string
	lsn     lsnValue
	prev    lsnValue
	replica bool
	noSLRUs bool

	compress string
	manifest bool
	from     lsnValue
	wal      string
}

func newBaseBackup() *cobra.Command {
	var f backupFlags
	c := &cobra.Command{
		Use:   "basebackup --output FILE.tar",
		Short: "Write a whole cluster as of an LSN, from which a stock server starts",
		Long: `Writes a tar of a data directory as of an LSN. A stock PostgreSQL of the cluster's version starts from it:
transactions that were open then are aborted, prepared ones can be committed. With --output - the tar goes
to stdout and the closing line to stderr. An interrupted backup does not start, since pg_control comes last.

--manifest makes a backup that incremental ones can follow, and --incremental-from one of those: of relations it
has the blocks that have changed since the backup that printed the LSN. strata combinebackup, or PostgreSQL 17's
pg_combinebackup, makes a full backup of them.

--format standby is for a stock server that follows the one that the WAL is from: set primary_conninfo, and it
streams from there. It needs that server's WAL from the last checkpoint at or below the LSN on; with --wal what is
up to the LSN comes with the backup.
--format compute is for a Neon compute: no files of relations, which it reads from the page service.`,
		Example: "  strata basebackup --lsn 0/16B3748 --output backup.tar\n  mkdir data && tar -C data -xf backup.tar && chmod 700 data && pg_ctl -D data start",
		Args:    exactArgs(0),
	}
	fs := c.Flags()
	f.register(fs)
	f.redo.register(fs)
	fs.Var(&f.lsn, "lsn", "state to write (default: the last)")
	fs.StringVar(&f.output, "output", "", "file to write, - for stdout (required)")
	fs.StringVar(&f.format, "format", "full", "for whom: full, compute or standby")
	fs.StringVar(&f.compress, "compress", "none", "compress the tar: none, gzip or zstd, with a level behind a colon if wanted, as in zstd:6")
	fs.BoolVar(&f.manifest, "manifest", false, "with a backup_manifest: a backup that incremental ones can follow")
	fs.Var(&f.from, "incremental-from", "write an incremental backup, to follow the one that printed this LSN")
	fs.StringVar(&f.wal, "wal", "", "for a standby: folder with the server's WAL segments, of which those from its last checkpoint to the state go into the backup")
	fs.Var(&f.prev, "prev-lsn", "for a compute: where the record before the state begins (default: found for the last state alone)")
	fs.BoolVar(&f.replica, "replica", false, "for a compute that does not write: without replication slots")
	fs.BoolVar(&f.noSLRUs, "no-slrus", false, "for a compute that asks for pg_xact and pg_multixact segment by segment: without them")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := f.options()
		if err != nil {
			return usageError{fmt.Errorf("basebackup: %w", err)}
		}
		return f.run(cmd, o)
	}
	return c
}

// options checks what can be checked without the store.
func (f *backupFlags) options() (o strata.BaseBackupOptions, err error) {
	if f.output == "" {
		return o, errors.New("--output is required")
	}
	if o.Format, err = basebackup.ParseFormat(f.format); err != nil {
		return o, fmt.Errorf("--format: %w", err)
	}
	if o.Compression, err = basebackup.ParseCompression(f.compress); err != nil {
		return o, fmt.Errorf("--compress: %w", err)
	}
	if o.Format != strata.BackupCompute && (f.prev.set || f.replica || f.noSLRUs) {
		return o, errors.New("--prev-lsn, --replica and --no-slrus are for --format compute")
	}
	if o.Format != strata.BackupFull && (f.manifest || f.from.set) {
		return o, errors.New("--manifest and --incremental-from are for --format full")
	}
	if o.Format != strata.BackupStandby && f.wal != "" {
		return o, errors.New("--wal is for --format standby; others bring the WAL that they need")
	}
	if f.wal != "" {
		o.WAL = os.DirFS(f.wal)
	}
	o.PrevLSN, o.Replica, o.NoSLRUs = f.prev.lsn, f.replica, f.noSLRUs
	o.Manifest, o.IncrementalFrom = f.manifest, f.from.lsn
	return o, nil
}

func (f *backupFlags) run(cmd *cobra.Command, o strata.BaseBackupOptions) error {
	start := time.Now()
	return f.withWhole(cmd, readOnly, func(tl wholeTimeline) (err error) {
		if o.LSN, err = stateAt(cmd.Context(), tl, f.lsn); err != nil {
			return fmt.Errorf("basebackup: %w", err)
		}
		p := newProgress(cmd.ErrOrStderr())
		o.Progress = func(i strata.BaseBackupProgress) {
			p.say(fmt.Sprintf("basebackup: %d files", i.Files), i.Bytes, 0)
		}
		var r strata.BaseBackupResult
		write := func(w io.Writer) error {
			r, err = tl.BaseBackup(cmd.Context(), w, o)
			return err
		}
		closingOut := cmd.OutOrStdout()
		if f.output == "-" {
			closingOut = cmd.ErrOrStderr()
			err = write(cmd.OutOrStdout())
		} else {
			err = writeWhole(f.output, write)
		}
		if err != nil {
			return fmt.Errorf("basebackup at %s: %w", o.LSN, err)
		}
		return closing{name: "basebackup"}.add("lsn", r.LSN).add("files", r.Files).add("bytes", r.Bytes).
			seconds(start).write(closingOut, f.json)
	})
}

// outputBuffer gathers small tar headers and pages into large writes.
const outputBuffer = 1 << 20

// writeWhole writes a file under a temporary name and renames it once it is complete and synced, so that no
// half of it is ever taken for the whole. A pipe or device is written to as it is, and a link followed: neither
// may be replaced by a file.
func writeWhole(name string, fill func(io.Writer) error) (err error) {
	if st, err := os.Stat(name); err == nil && !st.Mode().IsRegular() {
		return writeThrough(name, fill)
	}
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	t, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close(), os.Remove(t.Name()))
		}
	}()
	w := bufio.NewWriterSize(t, outputBuffer)
	if err = fill(w); err != nil {
		return err
	}
	if err = w.Flush(); err != nil {
		return err
	}
	if err = t.Sync(); err != nil {
		return err
	}
	if err = os.Rename(t.Name(), name); err != nil {
		return err
	}
	return t.Close()
}

// writeThrough writes to what is there under the name.
func writeThrough(name string, fill func(io.Writer) error) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, outputBuffer)
	if err = fill(w); err == nil {
		err = w.Flush()
	}
	return errors.Join(err, f.Close())
}
