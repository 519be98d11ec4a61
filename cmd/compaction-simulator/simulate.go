package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/catalog"
	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/draw"
	"github.com/stratapg/strata/simulator/scenario"
	"github.com/stratapg/strata/simulator/stats"
	"github.com/stratapg/strata/simulator/suite"
	"github.com/stratapg/strata/simulator/trace"
)

// simulateFlags are those of simulate.
type simulateFlags struct {
	scenario, strategy, config, out string
	trace                           string
	set                             []string
	seed                            uint64
	scale                           int64
	json, noChecks, print, series   bool
	fullChecks                      int
	maxVisits, maxRecords           int
	bandwidth                       int64
}

func simulateCommand() *cobra.Command {
	var f simulateFlags
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Run one scenario under one strategy",
		Long: `Run one scenario under one strategy and print what it cost.

The scenario is one of list, or a file of JSON (--config). --set changes any value of either: its name is that of the JSON
that --print-config shows, with dots between, as in --set phases.0.records=1000000 or --set options.MaxVisits=8.
--output makes a picture (SVG) and an interactive page of the run.`,
		Example: `  compaction-simulator simulate --scenario uniform-20GB-5GB --strategy tiered
  compaction-simulator simulate --scenario zipf --strategy partitioned --max-visits 8 --output pictures
  compaction-simulator simulate --scenario uniform --print-config >mine.json
  compaction-simulator simulate --config mine.json --set bandwidth=0
  strata layers export-trace --output store.trace && compaction-simulator simulate --trace store.trace`,
		Args: usage(cobra.NoArgs),
	}
	fl := c.Flags()
	fl.StringVar(&f.scenario, "scenario", "uniform", "scenario; see list")
	fl.StringVar(&f.strategy, "strategy", "legacy", "strategy; see list")
	fl.StringVar(&f.config, "config", "", "file with a scenario as JSON, instead of --scenario")
	fl.StringVar(&f.trace, "trace", "", "file written by strata layers export-trace, to be replayed instead of a scenario")
	fl.StringArrayVar(&f.set, "set", nil, "NAME=VALUE: change a value of the scenario")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of all that is random")
	fl.Int64Var(&f.scale, "scale", 1, "make everything that is counted in bytes, keys or records so many times smaller")
	fl.BoolVar(&f.json, "json", false, "print the result as JSON")
	fl.BoolVar(&f.series, "series", false, "have the state over time in the JSON too")
	fl.BoolVar(&f.print, "print-config", false, "print the scenario as JSON and do nothing")
	fl.BoolVar(&f.noChecks, "no-checks", false, "leave out the checks that are not the strategies' own")
	fl.IntVar(&f.fullChecks, "full-checks", 0, "check everything at each n-th publication")
	fl.IntVar(&f.maxVisits, "max-visits", 0, "bound on deltas per read, for strategies that keep one")
	fl.IntVar(&f.maxRecords, "max-records", 0, "bound on records per read, for strategies that keep one (default: none)")
	fl.Int64Var(&f.bandwidth, "bandwidth", 0, "bytes a second that compaction may read and write, 0 for no limit (default: the scenario's)")
	fl.StringVar(&f.out, "output", "", "folder for pictures")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := f.configuration(c)
		if err != nil {
			return usageError{err}
		}
		if f.print {
			return printJSON(c.OutOrStdout(), cfg)
		}
		st, err := catalog.New(f.strategy)
		if err != nil {
			return usageError{err}
		}
		res, err := runOne(c, cfg, st, f.out)
		if err != nil {
			return err
		}
		if !f.json {
			return printResult(c.OutOrStdout(), res)
		}
		if !f.series {
			res.Series = nil
		}
		return printJSON(c.OutOrStdout(), res)
	}
	return c
}

// configuration is the scenario with what flags change.
func (f *simulateFlags) configuration(c *cobra.Command) (sim.Config, error) {
	cfg, err := f.named()
	if err != nil {
		return cfg, err
	}
	cfg = cfg.Scale(f.scale)
	given := c.Flags().Changed
	if given("seed") || cfg.Seed == 0 {
		cfg.Seed = f.seed
	}
	if given("no-checks") {
		cfg.Checks.Off = f.noChecks
	}
	if given("full-checks") {
		cfg.Checks.Full = f.fullChecks
	}
	if given("bandwidth") {
		cfg.Bandwidth = f.bandwidth
	}
	if given("max-visits") {
		cfg.Options.MaxVisits = f.maxVisits
	}
	if given("max-records") {
		cfg.Options.MaxRecords = f.maxRecords
	}
	t := cfg.Trace
	for _, s := range f.set {
		if cfg, err = set(cfg, s); err != nil {
			return cfg, err
		}
	}
	cfg.Trace = t
	return cfg, cfg.Validate()
}

func (f *simulateFlags) named() (sim.Config, error) {
	switch {
	case f.trace != "":
		return traced(f.trace)
	case f.config == "":
		return scenario.Get(f.scenario)
	}
	raw, err := os.ReadFile(f.config)
	if err != nil {
		return sim.Config{}, err
	}
	return decode(raw)
}

// traced gives the scenario that replays a file.
func traced(file string) (sim.Config, error) {
	f, err := os.Open(file)
	if err != nil {
		return sim.Config{}, err
	}
	defer f.Close()
	t, err := trace.Read(f)
	if err != nil {
		return sim.Config{}, fmt.Errorf("%s: %w", file, err)
	}
	return scenario.Trace(t), nil
}

// runOne runs a scenario; its pictures are made if asked for, and where a checker fails.
func runOne(c *cobra.Command, cfg sim.Config, st compaction.Strategy, out string) (*stats.Result, error) {
	rec := draw.NewRecorder()
	watch := rec.Observer()
	var plans sim.PlanMeter
	watch.Plan = plans.Watch
	bar := newBar(c.ErrOrStderr())
	watch.Progress = func(done, total int64) { bar.show(min(float64(done)/float64(max(total, 1)), 1), 0, 1) }
	res, err := sim.Run(c.Context(), cfg, st, watch)
	bar.end()
	if err == nil {
		err = plans.Measure(st, res)
	}
	if err != nil && out == "" && c.Context().Err() == nil {
		out = "failed"
	}
	if out != "" {
		title := draw.Title{Scenario: cfg.Name, Strategy: st.Name(), Seed: cfg.Seed}
		if perr := suite.Pictures(filepath.Join(out, cfg.Name), st.Name(), rec, title); perr != nil {
			return nil, errors.Join(err, perr)
		}
		fmt.Fprintln(c.ErrOrStderr(), "pictures are in", filepath.Join(out, cfg.Name, st.Name()+".html"))
	}
	return res, err
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
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
	fmt.Fprintf(w, "  %d jobs, %d plans in %v, the largest of %d layers: it allocates %d KB; the largest plan holds %d KB\n", r.Jobs, r.Plan.Plans, r.Plan.Time.Round(1000), r.Plan.MaxLayers, r.Plan.HeapBytes>>10, r.Plan.Bytes>>10)
	fmt.Fprintf(w, "  most debt %d MB, height %d\n", r.MaxDebtBytes/stats.MB, r.MaxHeight)
	_, err := fmt.Fprintf(w, "  %.1f s of this machine's time, %.1f million records a second, hash %s\n", r.Seconds, float64(r.Records)/r.Seconds/1e6, r.Hash)
	return err
}
