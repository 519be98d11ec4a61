package main

import (
	"fmt"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
)

func newBranch() *cobra.Command {
	var f storeFlags
	var at lsnValue
	c := &cobra.Command{
		Use:   "branch NEW",
		Short: "Make a new timeline that shares another's history up to an LSN",
		Long: `Makes a timeline NEW that begins where --timeline stands at --at. It copies nothing: reads fall through to
the ancestor. WAL ingested into either is not seen by the other.`,
		Example: "  strata branch --at 0/16B3748 experiment\n  strata basebackup --timeline experiment --output experiment.tar",
		Args:    exactArgs(1),
	}
	f.register(c.Flags())
	c.Flags().Var(&at, "at", "LSN to branch at (default: the last)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return f.withTimeline(cmd, strata.Options{}, func(tl *openedTimeline) error {
			lsn, err := tl.at(cmd.Context(), at)
			if err != nil {
				return fmt.Errorf("branch: %w", err)
			}
			child, err := tl.tenant.Branch(cmd.Context(), tl.Timeline, strata.BranchOptions{Name: args[0], At: lsn})
			if err != nil {
				return fmt.Errorf("branch %s at %s: %w", args[0], lsn, err)
			}
			i := child.Info()
			return closing{name: "branch"}.add("timeline", i.ID).add("lsn", i.AncestorLSN).
				write(cmd.OutOrStdout(), f.json)
		})
	}
	return c
}
