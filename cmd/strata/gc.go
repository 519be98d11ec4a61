package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/layer"
)

func newGC() *cobra.Command {
	var f storeFlags
	var o strata.GCOptions
	var picture string
	horizon, pitr := int64(64<<20), 7*24*time.Hour
	c := &cobra.Command{
		Use:   "gc",
		Short: "Give up the oldest history of a timeline, and remove the layers that only it needed",
		Long: `Moves the oldest LSN that can be read up to where --horizon and --pitr let it, and removes all layers that no
read needs any more. What either of them keeps stays; 0 switches one of them off, and with both off nothing but the
present stays readable. States that branches begin at stay, whatever their age.

Whole layers go: those that newer images hide from every read. So compact first where there are none, with a
strategy that makes images.

Leases that a server gave in this store end with it: do not collect within ten minutes of its end if somebody counts on
them. With --dry-run nothing is changed, and every layer is listed with the reason why it would go or stay. With --draw
the layers before and after, or as they would be, are drawn as an SVG, key by LSN.`,
		Example: "  strata gc --dry-run\n  strata gc --horizon 0 --pitr 24h --draw gc.svg",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	c.Flags().Int64Var(&horizon, "horizon", horizon, "bytes of WAL, from the end, to keep readable at every LSN; 0 for none")
	c.Flags().DurationVar(&pitr, "pitr", pitr, "time, up to now, to keep every state of; 0 for none")
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "print what would be done, and change nothing")
	registerDraw(c, &picture)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if horizon < 0 || pitr < 0 {
			return usageError{errors.New("gc: --horizon and --pitr cannot be negative")}
		}
		o.Horizon, o.PITR = orNone(horizon), orNone(pitr)
		return runGC(cmd, f, o, picture)
	}
	return c
}

// orNone gives the form that options have for none.
func orNone[T int64 | time.Duration](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

func runGC(cmd *cobra.Command, f storeFlags, o strata.GCOptions, picture string) error {
	so := byHand(strata.Options{GC: strata.GarbageCollection{Period: strata.Every(0), LeaseGrace: strata.Every(0)}})
	if o.DryRun {
		so, o.Explain = readOnly, !f.json || picture != ""
	}
	return f.withTimeline(cmd, so, func(tl *openedTimeline) error {
		before := tl.Layers()
		r, err := tl.GC(cmd.Context(), o)
		if err != nil {
			return err
		}
		if err := drawChange(picture, tl.Timeline, "collected up to "+r.Cutoff.String(), before, left(tl.Layers(), &r, o.DryRun), nil); err != nil {
			return err
		}
		if !f.json {
			printGC(cmd.OutOrStdout(), &r)
		}
		return closing{name: "gc"}.add("removed", r.Removed).add("bytes", r.RemovedBytes).add("kept", r.Kept).
			add("kept_bytes", r.KeptBytes).add("held", len(r.Held)).add("cutoff", r.Cutoff).write(cmd.OutOrStdout(), f.json)
	})
}

// printGC tells how far the cutoff gets and what becomes of the layers.
func printGC(w io.Writer, r *strata.GCResult) {
	fmt.Fprintf(w, "cutoff %s -> %s: %s\n", r.Before, r.Cutoff, r.Limit)
	for _, lsn := range r.Held {
		fmt.Fprintf(w, "held   %s\n", lsn)
	}
	for _, l := range r.Layers {
		fate := "keeps "
		if l.Removed {
			fate = "removes"
		}
		fmt.Fprintf(w, "%s %s (%d bytes): %s\n", fate, l.Layer.Name(), l.Layer.Size, l.Reason)
	}
}

// left gives the layers that a collection leaves.
func left(layers []layer.Desc, r *strata.GCResult, dryRun bool) []layer.Desc {
	if !dryRun {
		return layers
	}
	var out []layer.Desc
	for _, l := range r.Layers {
		if !l.Removed {
			out = append(out, l.Layer)
		}
	}
	return out
}
