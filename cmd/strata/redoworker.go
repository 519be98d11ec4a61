package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/sandbox"
	"github.com/stratapg/strata/walredo/worker"
)

func newRedoWorker() *cobra.Command {
	var version int
	var flavour string
	var checksums, report, open bool
	var memory sizeValue = 2 << 30
	var cpu time.Duration
	c := &cobra.Command{
		Use:   "redo-worker --pg VERSION",
		Short: "Serve redo on stdin and stdout, as postgres --wal-redo does",
		Long: `Builds pages from images and WAL records that come on stdin, in the protocol of Neon's postgres --wal-redo, and
gives them out on stdout. A redo pool starts such processes; there is no use in it by hand.

It shuts itself into a sandbox first: no files, no sockets, no other processes (seccomp and landlock), bounded
memory and processor time, no core. Where the system has no seccomp it says so and works without.`,
		Example: "  strata verify redo --wal /archive --pg 15 --redo pool --worker '/usr/bin/strata redo-worker --pg {pg}'",
		Args:    exactArgs(0),
	}
	c.Flags().IntVar(&version, "pg", 0, "PostgreSQL version of the WAL, 14 to 17 (required)")
	c.Flags().StringVar(&flavour, "flavour", "stock", "whose heap records: stock or neon")
	c.Flags().BoolVar(&checksums, "checksums", false, "the cluster has data checksums or wal_log_hints")
	c.Flags().BoolVar(&report, "report-failures", false, "answer what cannot be redone with a page that says why, instead of an exit")
	c.Flags().Var(&memory, "memory", "most memory to use")
	c.Flags().DurationVar(&cpu, "cpu", time.Hour, "most processor time to use in all")
	c.Flags().BoolVar(&open, "no-sandbox", false, "work outside of the sandbox")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		k := walredo.Kind{Version: pg.Version(version), Checksums: checksums}
		var err error
		if k.Flavour, err = pg.ParseFlavour(flavour); err != nil {
			return usageError{fmt.Errorf("redo-worker: --flavour: %w", err)}
		}
		if !k.Version.Supported() {
			return usageError{fmt.Errorf("redo-worker: --pg %d: %w", version, pg.ErrUnsupportedVersion)}
		}
		if !open {
			if err := shutIn(cmd, sandbox.Limits{Memory: uint64(memory), CPU: cpu}); err != nil {
				return fmt.Errorf("redo-worker: %w", err)
			}
		}
		// Reading stdin knows no context.
		context.AfterFunc(cmd.Context(), func() { os.Exit(exitFailed) })
		return worker.Serve(cmd.Context(), os.Stdin, os.Stdout, worker.Options{
			Kind: k, Redoer: native.New(), ReportFailures: report,
		})
	}
	return c
}

// shutIn enters the sandbox, or says that there is none.
func shutIn(cmd *cobra.Command, l sandbox.Limits) error {
	if err := sandbox.Cleanse(); err != nil {
		return err
	}
	_, err := sandbox.Enter(l)
	if errors.Is(err, sandbox.ErrUnavailable) {
		fmt.Fprintf(cmd.ErrOrStderr(), "redo-worker: %v; working without\n", err)
		return nil
	}
	return err
}
