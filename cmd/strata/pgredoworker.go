package main

import (
	"flag"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/walredo/pgworker"
)

func newPGRedoWorker() *cobra.Command {
	var o pgworker.Options
	c := &cobra.Command{
		Use:   pgworker.Subcommand + " --pg VERSION --scratch DIR",
		Short: "Become a stock PostgreSQL server that serves redo on stdin and stdout",
		Long: `Starts the PostgreSQL server of a version, in single-user mode and with our library in it (make pgworker), in place
of itself. The server then builds pages with its own redo routines, as redo-worker does with ours. A redo pool
starts such processes; there is no use in it by hand.

The server gets a data directory in the scratch folder, of which it uses nothing, and shuts itself into a sandbox
before the first record: no files, no sockets, no other processes.`,
		Example: `  strata verify redo --wal /archive --pg 15 --redo both \
    --worker '/usr/bin/strata pg-redo-worker --pg {pg} --checksums={checksums} --report-failures --scratch /var/tmp/redo'`,
		Args: exactArgs(0),
	}
	f := flag.NewFlagSet(c.Name(), flag.ContinueOnError)
	o.Register(f)
	c.Flags().AddGoFlagSet(f)
	c.RunE = func(*cobra.Command, []string) error {
		if err := o.Validate(); err != nil {
			return usageError{fmt.Errorf("%s: %w", pgworker.Subcommand, err)}
		}
		return pgworker.Run(o)
	}
	return c
}
