package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
)

func newBranch() *cobra.Command {
	var f storeFlags
	var at lsnValue
	var then timeValue
	c := &cobra.Command{
		Use:   "branch NEW",
		Short: "Make a new timeline that shares another's history up to an LSN",
		Long: `Makes a timeline NEW that begins where --timeline stands at --at, or stood at --time. It copies nothing: reads fall
through to the ancestor. WAL ingested into either is not seen by the other.

` + timeHelp + `
The branch begins just before the first commit or abort that is later; "strata at" says which that is. If the time lies in
the history of an ancestor of --timeline, that one is branched. A time after the last transaction is refused.`,
		Example: "  strata branch --at 0/16B3748 experiment\n  strata branch --time '2026-01-01 12:00' before-the-accident\n  strata basebackup --timeline experiment --output experiment.tar",
		Args:    exactArgs(1),
	}
	f.register(c.Flags())
	c.Flags().Var(&at, "at", "LSN to branch at (default: the last)")
	c.Flags().Var(&then, "time", "time to branch at, instead of an LSN")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if at.set && then.set {
			return usageError{errors.New("branch: --at and --time exclude each other")}
		}
		return f.withTimeline(cmd, strata.Options{}, func(tl *openedTimeline) error {
			parent, lsn, err := branchPoint(cmd.Context(), tl, at, then)
			if err != nil {
				return fmt.Errorf("branch: %w", err)
			}
			child, err := tl.tenant.Branch(cmd.Context(), parent, strata.BranchOptions{Name: args[0], At: lsn})
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

// branchPoint gives the timeline to branch, and where.
func branchPoint(ctx context.Context, tl *openedTimeline, at lsnValue, then timeValue) (*strata.Timeline, page.LSN, error) {
	if !then.set {
		lsn, err := tl.at(ctx, at)
		return tl.Timeline, lsn, err
	}
	m, err := findTime(ctx, tl, then.at)
	if err != nil {
		return nil, 0, err
	}
	if m.Kind == strata.TimeFuture {
		return nil, 0, fmt.Errorf("no transaction of timeline %s ended after %s; leave --time out to branch at its end, %s",
			m.timeline.Name, then.at.Format(time.RFC3339Nano), m.LSN)
	}
	parent, err := tl.tenant.Timeline(ctx, m.timeline.ID.String())
	return parent, m.LSN, err
}
