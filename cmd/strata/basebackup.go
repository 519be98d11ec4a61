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
)

func newBaseBackup() *cobra.Command {
	var f storeFlags
	var output string
	var lsn lsnValue
	c := &cobra.Command{
		Use:   "basebackup --output FILE.tar",
		Short: "Write a whole cluster as of an LSN, from which a stock server starts",
		Long: `Writes a tar of a data directory as of an LSN. A stock PostgreSQL of the cluster's version starts from it:
transactions that were open then are aborted, prepared ones can be committed. With --output - the tar goes
to stdout and the closing line to stderr. An interrupted backup does not start, since pg_control comes last.`,
		Example: "  strata basebackup --lsn 0/16B3748 --output backup.tar\n  mkdir data && tar -C data -xf backup.tar && chmod 700 data && pg_ctl -D data start",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	f.redo.register(c.Flags())
	c.Flags().Var(&lsn, "lsn", "state to write (default: the last)")
	c.Flags().StringVar(&output, "output", "", "file to write, - for stdout (required)")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if output == "" {
			return usageError{errors.New("basebackup: --output is required")}
		}
		return runBaseBackup(cmd, f, output, lsn)
	}
	return c
}

func runBaseBackup(cmd *cobra.Command, f storeFlags, output string, lsn lsnValue) error {
	start := time.Now()
	return f.withWhole(cmd, readOnly, func(tl wholeTimeline) error {
		at, err := stateAt(cmd.Context(), tl, lsn)
		if err != nil {
			return fmt.Errorf("basebackup: %w", err)
		}
		p := newProgress(cmd.ErrOrStderr())
		o := strata.BaseBackupOptions{LSN: at, Progress: func(i strata.BaseBackupProgress) {
			p.say(fmt.Sprintf("basebackup: %d files", i.Files), i.Bytes, 0)
		}}
		var r strata.BaseBackupResult
		closingOut := cmd.OutOrStdout()
		if output == "-" {
			closingOut = cmd.ErrOrStderr()
			r, err = tl.BaseBackup(cmd.Context(), cmd.OutOrStdout(), o)
		} else {
			err = writeWhole(output, func(w io.Writer) error {
				r, err = tl.BaseBackup(cmd.Context(), w, o)
				return err
			})
		}
		if err != nil {
			return fmt.Errorf("basebackup at %s: %w", at, err)
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
