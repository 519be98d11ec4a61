// Command bench runs the workloads of package bench/workload, compares runs, and keeps prepared stores.
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
	c := &cobra.Command{
		Use:           "bench",
		Short:         "Run benchmarks, compare their results, keep prepared stores",
		Example:       "  bench run --profile quick > new.jsonl\n  bench compare old.jsonl new.jsonl",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	c.AddCommand(newRun(), newCompare(), newSnapshot())
	c.SetArgs(args)
	c.SetOut(stdout)
	c.SetErr(stderr)
	err := c.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "bench:", err)
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}
