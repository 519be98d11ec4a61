// Command pagebench asks a page server for work and prints how it answered, with the subcommands and flags of Neon's pagebench.
// Package bench/pagebench says what is measured.
package main

import (
	"github.com/spf13/cobra"

	"github.com/stratapg/strata/cmd/internal/cli"
)

func main() { cli.Main(newRoot()) }

func newRoot() *cobra.Command {
	c := &cobra.Command{
		Use:   "pagebench",
		Short: "Ask a page server for work, and measure how it answers",
		Long: `Measures a page server, ours (strata serve) or Neon's, with the subcommands and flags of Neon's pagebench. Targets are
timelines, written TENANT/TIMELINE; without any, all timelines of the server are asked, as its management API lists them.

Results are JSON on standard output; progress goes to standard error. An interrupt ends a run early, with its result.`,
		Example: "  strata serve --listen 127.0.0.1:64000 --http 127.0.0.1:9898 &\n  pagebench get-page-latest-lsn --num-clients 4 --queue-depth 32 --runtime 10s",
	}
	c.AddCommand(newGetPage(), newBaseBackup(), newInitialSize(), newChurn(), newAuxFiles(), newIdleStreams(), newIngest())
	return c
}
