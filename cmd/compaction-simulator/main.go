// Command compaction-simulator judges compaction strategies without an engine: it runs the planners that ship on a
// simulated timeline and counts what they write and what reads cost.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "compaction-simulator:", err)
		os.Exit(exitCode(err))
	}
}

func command() *cobra.Command {
	c := &cobra.Command{
		Use:           "compaction-simulator",
		Short:         "Judge compaction strategies on simulated workloads",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.AddCommand(simulateCommand(), listCommand())
	return c
}
