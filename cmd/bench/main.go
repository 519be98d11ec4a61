// Command bench runs the workloads of package bench/workload, compares runs, and keeps prepared stores.
package main

import (
	"github.com/spf13/cobra"

	"github.com/stratapg/strata/cmd/internal/cli"
)

func main() { cli.Main(newRoot()) }

func newRoot() *cobra.Command {
	c := &cobra.Command{
		Use:     "bench",
		Short:   "Run benchmarks, compare their results, keep prepared stores",
		Example: "  bench run --profile quick > new.jsonl\n  bench compare old.jsonl new.jsonl\n  bench table new.jsonl",
	}
	c.AddCommand(newRun(), newCompare(), newTable(), newSnapshot(), newRedoWorker())
	return c
}
