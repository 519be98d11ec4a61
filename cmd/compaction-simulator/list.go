package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/simulator/scenario"
)

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List scenarios and strategies",
		Args:  usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			w := c.OutOrStdout()
			fmt.Fprintln(w, "scenarios:")
			for _, s := range scenario.All() {
				fmt.Fprintf(w, "  %-20s %s\n", s.Name, s.About)
			}
			fmt.Fprintf(w, "  %-20s %s\n", scenario.TraceName, "what a store has taken in, from a file of strata layers export-trace (--trace FILE)")
			fmt.Fprintln(w, "strategies:")
			for _, n := range catalog.Names() {
				fmt.Fprintf(w, "  %s\n", n)
			}
			return nil
		},
	}
}
