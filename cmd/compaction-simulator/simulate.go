package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/compaction/catalog"
	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/scenario"
	"github.com/stratapg/strata/simulator/stats"
)

func simulateCommand() *cobra.Command {
	var f struct {
		scenario, strategy    string
		seed                  uint64
		scale                 int64
		json, noChecks        bool
		maxVisits, maxRecords int
		bandwidth             int64
		fullChecks            int
	}
	c := &cobra.Command{
		Use:   "simulate --scenario NAME --strategy NAME",
		Short: "Run one scenario under one strategy",
		Args:  cobra.NoArgs,
	}
	fl := c.Flags()
	fl.StringVar(&f.scenario, "scenario", "uniform", "scenario; see list")
	fl.StringVar(&f.strategy, "strategy", "legacy", "strategy; see list")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of all that is random")
	fl.Int64Var(&f.scale, "scale", 1, "make everything that is counted in bytes, keys or records so many times smaller")
	fl.BoolVar(&f.json, "json", false, "print the result as JSON")
	fl.BoolVar(&f.noChecks, "no-checks", false, "leave out what is not the strategies' own checker")
	fl.IntVar(&f.fullChecks, "full-checks", 0, "check everything at each n-th publication")
	fl.IntVar(&f.maxVisits, "max-visits", 0, "bound on deltas per read, for strategies that promise one")
	fl.IntVar(&f.maxRecords, "max-records", 0, "bound on records per read, for strategies that promise one")
	fl.Int64Var(&f.bandwidth, "bandwidth", -1, "bytes a second that compaction may read and write, 0 for no limit")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := scenario.Get(f.scenario)
		if err != nil {
			return usageError{err}
		}
		st, err := catalog.New(f.strategy)
		if err != nil {
			return usageError{err}
		}
		cfg.Seed, cfg.Checks.Off, cfg.Checks.Full = f.seed, f.noChecks, f.fullChecks
		if f.bandwidth >= 0 {
			cfg.Bandwidth = f.bandwidth
		}
		if f.maxVisits > 0 {
			cfg.Options.MaxVisits = f.maxVisits
		}
		if f.maxRecords > 0 {
			cfg.Options.MaxRecords = f.maxRecords
		}
		res, err := sim.Run(c.Context(), cfg.Scale(f.scale), st, sim.Observer{})
		if err != nil {
			return err
		}
		if f.json {
			res.Series = nil
			e := json.NewEncoder(c.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(res)
		}
		return printResult(c.OutOrStdout(), res)
	}
	return c
}

func printResult(w io.Writer, r *stats.Result) error {
	fmt.Fprintf(w, "scenario %s, strategy %s, seed %d\n", r.Scenario, r.Strategy, r.Seed)
	fmt.Fprintf(w, "  WAL %d MB, created %d MB in %d files, deleted %d MB in %d files\n", r.WALMB, r.CreatedMB, r.FilesCreated, r.DeletedMB, r.FilesDeleted)
	fmt.Fprintf(w, "  write amp %.2f, storage amp %.2f, space amp %.2f\n", r.WriteAmp, r.StorageAmp, r.SpaceAmp)
	fmt.Fprintf(w, "  written, MB: ")
	for _, k := range []string{"flush", "retile", "image", "fold"} {
		fmt.Fprintf(w, " %s %d", k, r.Written[k]/stats.MB)
	}
	fmt.Fprintln(w)
	for _, x := range []struct {
		name string
		s    stats.Spread
	}{{"deltas", r.ReadDeltas}, {"layers", r.ReadLayers}, {"records", r.ReadRecords}} {
		fmt.Fprintf(w, "  %-7s per read: mean %.1f, p50 %d, p99 %d, max %d\n", x.name, x.s.Mean, x.s.P50, x.s.P99, x.s.Max)
	}
	for _, a := range r.Areas {
		fmt.Fprintf(w, "  %s: WAL %d MB, written %d MB, write amp %.2f, deltas per read: mean %.1f, p99 %d, max %d\n",
			a.Name, a.WALMB, a.WrittenMB, a.WriteAmp, a.Deltas.Mean, a.Deltas.P99, a.Deltas.Max)
	}
	fmt.Fprintf(w, "  stalled %.1f s of %.1f s; layers: %d L0, %d deltas, %d images; most at a time %d\n", r.StallSeconds, r.SimSeconds, r.Layers.L0, r.Layers.Deltas, r.Layers.Images, r.MaxLayers)
	fmt.Fprintf(w, "  %d jobs, %d plans in %v, the largest of %d layers; most debt %d MB, height %d\n", r.Jobs, r.Plan.Plans, r.Plan.Time.Round(1000), r.Plan.MaxLayers, r.MaxDebtBytes/stats.MB, r.MaxHeight)
	_, err := fmt.Fprintf(w, "  %.1f s of this machine's time, %.1f million records a second, hash %s\n", r.Seconds, float64(r.Records)/r.Seconds/1e6, r.Hash)
	return err
}
