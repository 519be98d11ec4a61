// Command pagebench asks a page server for work and prints how it answered, with the subcommands and flags of Neon's pagebench.
// Package bench/pagebench says what is measured.
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

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// usageError is a command line that makes no sense.
type usageError struct{ error }

// run is main without the process: 0 is success, 2 a wrong command line, 1 all else.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := newRoot()
	c.SetArgs(args)
	c.SetOut(stdout)
	c.SetErr(stderr)
	err := c.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "pagebench:", err)
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}

func newRoot() *cobra.Command {
	c := &cobra.Command{
		Use:   "pagebench",
		Short: "Ask a page server for work, and measure how it answers",
		Long: `Measures a page server, ours (strata serve) or Neon's, with the subcommands and flags of Neon's pagebench. Targets are
timelines, written TENANT/TIMELINE; without any, all timelines of the server are asked, as its management API lists them.

Results are JSON on standard output; progress goes to standard error. An interrupt ends a run early, with its result.`,
		Example:       "  strata serve --listen 127.0.0.1:64000 --http 127.0.0.1:9898 &\n  pagebench get-page-latest-lsn --num-clients 4 --queue-depth 32 --runtime 10s",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	c.AddCommand(newGetPage(), newBaseBackup(), newInitialSize(), newChurn(), newAuxFiles(), newIdleStreams(), newIngest())
	return c
}
