package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
)

func newEvict() *cobra.Command {
	var f storeFlags
	var l strata.EvictLimits
	var all bool
	c := &cobra.Command{
		Example: "  strata evict --max-bytes 10737418240\n  strata evict --all",
		Use:     "evict [--max-bytes N] [--max-usage-pct N] [--min-avail-bytes N] [--max-age D] | --all",
		Short:   "Remove layer files from the local disk that remote storage has too",
		Long: `Looks at the disk once. Layers that newer images hide go first, then those not read for the longest time. They are fetched again
when they are read. What remote storage has not got for good stays, whatever the limits.`,
		Args: exactArgs(0),
	}
	f.register(c.Flags())
	c.Flags().BoolVar(&all, "all", false, "all that may go")
	c.Flags().Int64Var(&l.MaxBytes, "max-bytes", 0, "bytes that layers may take")
	c.Flags().IntVar(&l.MaxUsagePct, "max-usage-pct", 0, "how full the disk may be, in percent")
	c.Flags().Int64Var(&l.MinAvailBytes, "min-avail-bytes", 0, "bytes that are to be free on the disk")
	c.Flags().DurationVar(&l.MaxAge, "max-age", 0, "how long a layer stays that nobody reads")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if all {
			l.MaxBytes = 1
		}
		if l == (strata.EvictLimits{}) {
			return usageError{errors.New("evict: say what is too much, or --all")}
		}
		return runEvict(cmd, f, l)
	}
	return c
}

func runEvict(cmd *cobra.Command, f storeFlags, l strata.EvictLimits) (err error) {
	start := time.Now()
	engine, _, err := f.openTenant(cmd, byHand(strata.Options{}))
	if err != nil {
		return err
	}
	defer func() { err = andAlso(err, engine.Close()) }()
	r, err := engine.Evict(cmd.Context(), l)
	if err != nil {
		return err
	}
	return closing{name: "evict"}.add("layers", r.Layers).add("bytes", r.Bytes).add("held", r.Held).add("short", r.Short).
		seconds(start).write(cmd.OutOrStdout(), f.json)
}

func newDownload() *cobra.Command {
	var f storeFlags
	c := &cobra.Command{
		Example: "  strata download --timeline main",
		Use:     "download",
		Short:   "Fetch all layers of a timeline that are in remote storage only",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		start := time.Now()
		p := newProgress(cmd.ErrOrStderr())
		return f.withTimeline(cmd, readOnly, func(tl *openedTimeline) error {
			var last strata.DownloadProgress
			err := tl.Download(cmd.Context(), func(now strata.DownloadProgress) {
				last = now
				p.say(fmt.Sprintf("download: %d of %d layers", now.Layers, now.TotalLayers), now.Bytes, now.TotalBytes)
			})
			if err != nil {
				return err
			}
			return closing{name: "download"}.add("layers", last.Layers).add("bytes", last.Bytes).seconds(start).write(cmd.OutOrStdout(), f.json)
		})
	}
	return c
}
