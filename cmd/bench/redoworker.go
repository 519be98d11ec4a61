package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/cmd/internal/cli"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/sandbox"
	"github.com/stratapg/strata/walredo/worker"
)

// newRedoWorker makes this program the process in which redo is measured, in its sandbox, as `strata redo-worker` is.
func newRedoWorker() *cobra.Command {
	var version int
	var flavour string
	var k walredo.Kind
	var report bool
	c := &cobra.Command{
		Use:    "redo-worker --pg VERSION",
		Short:  "Serve redo on stdin and stdout",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if k.Flavour, err = pg.ParseFlavour(flavour); err != nil {
				return cli.Usage(err)
			}
			if k.Version = pg.Version(version); !k.Version.Supported() {
				return cli.Usagef("--pg %d: %w", version, pg.ErrUnsupportedVersion)
			}
			if err := sandbox.Cleanse(); err != nil {
				return err
			}
			if _, err := sandbox.Enter(sandbox.Limits{}); err != nil && !errors.Is(err, sandbox.ErrUnavailable) {
				return err
			}
			return worker.Serve(c.Context(), os.Stdin, os.Stdout, worker.Options{Kind: k, Redoer: native.New(), ReportFailures: report})
		},
	}
	c.Flags().IntVar(&version, "pg", 0, "PostgreSQL version of the WAL")
	c.Flags().StringVar(&flavour, "flavour", "stock", "whose heap records: stock or neon")
	c.Flags().BoolVar(&k.Checksums, "checksums", false, "the cluster has data checksums or wal_log_hints")
	c.Flags().BoolVar(&report, "report-failures", false, "answer what cannot be redone with a page that says why")
	return c
}
