// Command strata works on a Strata store: it imports a cluster, takes in its WAL, and gives back pages,
// branches and base backups as of any LSN.
//
// Exit code 0 says that the work is done and every check held, 1 that it was not or did not, 2 that the
// command line was wrong. The last line on stdout is the closing line, `name: key=value …`; with --json it
// is one JSON object with the same facts.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes, as documented above.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and gives its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "strata: %v\nRun it with --help to see how it is used.\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "strata: %v\n", err)
	return exitFailed
}

// usageError marks a wrong command line.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// andAlso joins what followed from a failure, as closing the store does, to the failure. What has the same
// root, as a full disk has for all that is still to be written, is said once.
func andAlso(err, later error) error {
	if err != nil && later != nil && root(err).Error() == root(later).Error() {
		return err
	}
	return errors.Join(err, later)
}

// root is the first cause of an error: the innermost, and the first of several.
func root(err error) error {
	for {
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			if e.Unwrap() == nil {
				return err
			}
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			err = e.Unwrap()[0]
		default:
			return err
		}
	}
}

// exactArgs is cobra's check with our error.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.ExactArgs(n)(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// group makes a command that only holds others.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("%s: unknown command %q", cmd.CommandPath(), args[0])}
			}
			return cmd.Help()
		},
	}
	c.AddCommand(children...)
	return c
}

func newRoot() *cobra.Command {
	root := group("strata", "Time travel, branches and base backups for PostgreSQL, from its WAL",
		newImport(), newAttach(), newDetach(), newDownload(), newEvict(), newIngest(), newReceive(), newServe(), newPage(), newBaseBackup(), newCombineBackup(), newBranch(), newDetachAncestor(), newSplit(),
		newTimelines(), newArchive(), newUnarchive(), newOffload(), newDelete(), newDeleteTenant(), newHeatmap(), newSecondary(),
		newAt(), newRels(), newRelDirs(), newSize(),
		newLayers(), newCompact(), newGC(), newInfo(), newRedoWorker(), newPGRedoWorker(),
		group("verify", "Check layers, redo, or a whole cluster against PostgreSQL's own files",
			newVerifyLayers(), newVerifyDirectories(), newVerifyCluster(), newVerifyRedo()),
	)
	root.Long = `Strata takes the write-ahead log of a PostgreSQL cluster, keeps every version of every page in
immutable layers, and gives back any page or a bootable base backup as of any LSN.

The usual road:
  strata import     --pgdata /path/to/stopped/cluster     # pages at the end of its last checkpoint
  strata ingest     --wal /path/to/wal/archive            # everything that happened since
  strata page       --rel 1663/5/16384 --block 0 --lsn 0/16B3748
  strata branch     --at 0/16B3748 experiment
  strata basebackup --lsn 0/16B3748 --output backup.tar   # a stock server of that version starts from it

A state at an LSN holds the records that end at or before it.`
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	return root
}
