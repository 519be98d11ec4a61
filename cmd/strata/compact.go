package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/compaction"
)

func newCompact() *cobra.Command {
	var f storeFlags
	var o strata.CompactOptions
	var dryRun bool
	var picture string
	c := &cobra.Command{
		Use:   "compact",
		Short: "Make the layers of a timeline over, so that reads visit fewer of them",
		Long: `Has a strategy decide how the timeline's layers are to be made over, and does that until there is nothing
left to do. What was done stays when it is interrupted, and called again it goes on with the rest. Nothing on
disk depends on the strategy: each call may name another.

With --due only what the strategy's thresholds ask for is done, as in the background of a running engine.
With --dry-run nothing is changed: the jobs that would come first are printed, with their reasons, the layers that
they read and replace, and what they come to. How far the work is, and how long it still takes, goes to stderr once
a second; the closing line tells what it came to: max_deltas is the most deltas that a read may have to visit.

With --draw the layers before and after, or as they are planned, are drawn as an SVG, key by LSN.`,
		Example: "  strata compact --strategy legacy\n  strata compact --dry-run --draw plan.svg",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	registerStrategy(c, &o.Strategy)
	c.Flags().BoolVar(&o.DueOnly, "due", false, "do only what the strategy's thresholds ask for")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be done, and change nothing")
	registerDraw(c, &picture)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkStrategy("compact", o.Strategy); err != nil {
			return err
		}
		if dryRun {
			return planCompact(cmd, f, o, picture)
		}
		return runCompact(cmd, f, o, picture)
	}
	return c
}

// registerStrategy adds the flag that names a compaction strategy.
func registerStrategy(c *cobra.Command, name *string) {
	names := strata.CompactionStrategies()
	c.Flags().StringVar(name, "strategy", names[0], "compaction strategy: "+strings.Join(names, ", "))
}

func checkStrategy(command, name string) error {
	o := strata.Options{Dir: ".", Compaction: strata.Compaction{Strategy: name}}
	if err := o.Validate(); err != nil {
		return usageError{fmt.Errorf("%s: --strategy: want one of %s", command, strings.Join(strata.CompactionStrategies(), ", "))}
	}
	return nil
}

// byHand leaves compaction to the command.
func byHand(o strata.Options) strata.Options {
	o.Compaction.Period = strata.Every(0)
	return o
}

func runCompact(cmd *cobra.Command, f storeFlags, o strata.CompactOptions, picture string) error {
	start := time.Now()
	o.Progress = compactProgress(newProgress(cmd.ErrOrStderr()))
	return f.withTimeline(cmd, byHand(strata.Options{}), func(tl *openedTimeline) error {
		before := tl.Layers()
		r, err := tl.Compact(cmd.Context(), o)
		if err != nil {
			return fmt.Errorf("compact, after %d jobs: %w", r.Jobs, err)
		}
		if err := takeOver(cmd, tl, &r); err != nil {
			return err
		}
		if err := drawChange(picture, tl.Timeline, "compacted", before, tl.Layers(), nil); err != nil {
			return err
		}
		return closing{name: "compact"}.add("jobs", r.Jobs).add("bytes_in", r.BytesRead).add("bytes_out", r.BytesWritten).
			add("layers", r.Layers).add("max_deltas", r.MaxDeltas).seconds(start).add("peak_mib", peakMiB()).
			write(cmd.OutOrStdout(), f.json)
	})
}

// compactProgress tells how far a job is.
func compactProgress(p *progress) func(strata.CompactionInfo) {
	return func(i strata.CompactionInfo) {
		what := fmt.Sprintf("compact: %s of %d layers", i.Kind, i.Inputs)
		if i.Left > 0 {
			what += fmt.Sprintf(", %s left", i.Left.Round(time.Second))
		}
		p.say(what, i.BytesRead, i.TotalBytes)
	}
}

// peakMiB is the most memory that the process has had, 0 if unknown.
func peakMiB() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Maxrss >> 10 // Linux counts in KiB
}

func planCompact(cmd *cobra.Command, f storeFlags, o strata.CompactOptions, picture string) error {
	start := time.Now()
	return f.withTimeline(cmd, readOnly, func(tl *openedTimeline) error {
		p, err := tl.PlanCompaction(cmd.Context(), o)
		if err != nil {
			return fmt.Errorf("compact: %w", err)
		}
		var read, write int64
		for i := range p.Jobs {
			j := &p.Jobs[i]
			read, write = read+j.Cost.Read, write+j.Cost.Write
			if !f.json {
				printJob(cmd.OutOrStdout(), p.Snapshot, j)
			}
		}
		if !f.json {
			printEffect(cmd.OutOrStdout(), &p)
		}
		if err := drawPlan(picture, tl.Timeline, &p); err != nil {
			return err
		}
		return closing{name: "compact"}.add("jobs", 0).add("planned", len(p.Jobs)).add("bytes_in", read).add("bytes_out", write).
			add("layers", len(p.Snapshot.Layers)).seconds(start).write(cmd.OutOrStdout(), f.json)
	})
}

// printJob says what a job would do, why, and what it would come to.
func printJob(w io.Writer, s *compaction.Snapshot, j *compaction.Job) {
	fmt.Fprintf(w, "%s keys=%s lsns=%s-%s read=%d write=%d: %s\n", j.Kind, j.Rect.Keys, j.Rect.LSNs.Start, j.Rect.LSNs.End,
		j.Cost.Read, j.Cost.Write, j.Reason)
	for _, i := range j.Inputs {
		fmt.Fprintf(w, "  reads    %s (%d bytes)\n", s.Layers[i].ID, s.Layers[i].Size)
	}
	for _, i := range j.Obsolete {
		fmt.Fprintf(w, "  replaces %s (%d bytes)\n", s.Layers[i].ID, s.Layers[i].Size)
	}
}

// printEffect says what all planned jobs come to.
func printEffect(w io.Writer, p *strata.CompactionPlan) {
	gone := obsolete(p)
	var bytes, write int64
	for i := range gone {
		bytes += p.Snapshot.Layers[i].Size
	}
	for i := range p.Jobs {
		write += p.Jobs[i].Cost.Write
	}
	fmt.Fprintf(w, "expected: %d of %d layers (%d bytes) are replaced by about %d bytes\n", len(gone), len(p.Snapshot.Layers), bytes, write)
	if d := p.Debt; d.Limit > 0 {
		fmt.Fprintf(w, "a read visits up to %d deltas now; ingest stops at %d\n", d.Height, d.Limit)
	}
	if len(p.Jobs) > 0 {
		fmt.Fprintln(w, "what follows is planned once these are done")
	}
}

// obsolete are the layers that the jobs of a plan replace.
func obsolete(p *strata.CompactionPlan) map[int]bool {
	gone := map[int]bool{}
	for i := range p.Jobs {
		for _, n := range p.Jobs[i].Obsolete {
			gone[n] = true
		}
	}
	return gone
}
