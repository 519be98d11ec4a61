package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/bench/record"
	"github.com/stratapg/strata/cmd/internal/cli"
)

func newCompare() *cobra.Command {
	var plot string
	c := &cobra.Command{
		Use:     "compare OLD NEW",
		Short:   "Ratios of two runs, with confidence",
		Long:    "Prints the ratios of medians of NEW to OLD, within which they lie with 95 % confidence, and whether they differ by the Mann-Whitney U test.",
		Example: "  bench compare old.jsonl new.jsonl --plot change.svg",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return cli.Usagef("two files of bench run are wanted, not %d", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			var runs [2][]record.Line
			for i, name := range args {
				var err error
				if runs[i], err = readLines(name); err != nil {
					return err
				}
			}
			all := record.Compare(runs[0], runs[1])
			if len(all) == 0 {
				return fmt.Errorf("%s and %s have no workload in common", args[0], args[1])
			}
			if a, b := runs[0][0].Machine, runs[1][0].Machine; a != b {
				fmt.Fprintln(c.ErrOrStderr(), "warning: the runs are of different machines")
			}
			if plot != "" {
				if err := os.WriteFile(plot, record.Draw(args[1]+" to "+args[0], all), 0o666); err != nil {
					return err
				}
			}
			return record.WriteTable(c.OutOrStdout(), all)
		},
	}
	c.Flags().StringVar(&plot, "plot", "", "SVG file for the ratios")
	return c
}
