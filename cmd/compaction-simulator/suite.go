package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/simulator/scenario"
	"github.com/stratapg/strata/simulator/stats"
	"github.com/stratapg/strata/simulator/suite"
)

// quickScale is how much smaller everything is with --quick.
const quickScale = 32

// suiteFlags are those of run-suite.
type suiteFlags struct {
	quick, json, csv, markdown, noMatch, matchBounds bool
	scenarios, strategies, set                       []string
	seed                                             uint64
	out, trace                                       string
	workers, maxRecords                              int
	scale                                            int64
}

func suiteCommand() *cobra.Command {
	var f suiteFlags
	c := &cobra.Command{
		Use:   "run-suite",
		Short: "Run all scenarios under all strategies and compare them",
		Long: `Run all scenarios under all strategies, several at a time, and print how they compare.

A results folder gets an index.html with the table, charts over time, and a picture and an interactive page of each
run. Besides, "partitioned" is run with the bounds on reads that the others came to (their p99 of deltas; with --max-records also
their worst read's records, if these are more), to show what it writes for the same reads: these runs are called partitioned@legacy and so on.

The last line is "suite: runs=… failed=… seconds=…". The exit code is 0 only if no run failed; a run fails if a
checker finds that a version is lost, that layers overlap, or that a strategy does not come to an end.`,
		Example: `  compaction-simulator run-suite --quick
  compaction-simulator run-suite --match-bounds
  compaction-simulator run-suite --scenario uniform,hot-cold --strategy legacy,partitioned --markdown`,
		Args: usage(cobra.NoArgs),
	}
	fl := c.Flags()
	fl.BoolVar(&f.quick, "quick", false, fmt.Sprintf("everything %d times smaller: under half a minute", quickScale))
	fl.StringArrayVar(&f.set, "set", nil, "NAME=VALUE: change a value of every scenario, as for simulate")
	fl.Int64Var(&f.scale, "scale", 1, "make everything that is counted in bytes, keys or records so many times smaller")
	fl.StringSliceVar(&f.scenarios, "scenario", nil, "only these scenarios")
	fl.StringSliceVar(&f.strategies, "strategy", nil, "only these strategies")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of all that is random")
	fl.StringVar(&f.out, "output", "", "results folder (default suite-results.SECONDS here)")
	fl.StringVar(&f.trace, "trace", "", "file written by strata layers export-trace: a scenario more, \"trace\"")
	fl.IntVar(&f.workers, "workers", 0, "runs at a time (default: one for each processor)")
	fl.IntVar(&f.maxRecords, "max-records", 0, "bound on records per read, for strategies that keep one (default: the scenario's, and none where that has none)")
	fl.BoolVar(&f.noMatch, "no-match", false, "leave out the runs with others' bounds")
	fl.BoolVar(&f.matchBounds, "match-bounds", false, "print only what partitioned writes with the others' bounds, beside what they write, as Markdown")
	fl.BoolVar(&f.json, "json", false, "print the results as JSON instead of the table")
	fl.BoolVar(&f.csv, "csv", false, "print the table as CSV")
	fl.BoolVar(&f.markdown, "markdown", false, "print the table as Markdown")
	c.RunE = func(c *cobra.Command, _ []string) error { return runSuite(c, &f) }
	return c
}

func runSuite(c *cobra.Command, f *suiteFlags) error {
	begun := time.Now()
	o, err := suiteOptions(f)
	if err != nil {
		return usageError{err}
	}
	if o.Dir = f.out; o.Dir == "" {
		o.Dir = fmt.Sprintf("suite-results.%d", begun.Unix())
	}
	o.Workers = f.workers
	bar := newBar(c.ErrOrStderr())
	o.Progress = bar.show
	results, err := suite.Run(c.Context(), o)
	bar.end()
	if err != nil {
		return err
	}
	if err := suite.Write(o.Dir, results); err != nil {
		return err
	}
	failed := 0
	for _, r := range results {
		if r.Error != "" {
			failed++
		}
	}
	if err := printSuite(c.OutOrStdout(), f, results, failed, time.Since(begun)); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d runs failed; see %s", failed, len(results), filepath.Join(o.Dir, "index.html"))
	}
	return nil
}

func suiteOptions(f *suiteFlags) (o suite.Options, err error) {
	scenarios := scenario.All()
	if len(f.scenarios) > 0 {
		scenarios = nil
		for _, n := range f.scenarios {
			s, err := scenario.Get(n)
			if err != nil {
				return o, err
			}
			scenarios = append(scenarios, s)
		}
	}
	for _, s := range scenarios {
		s.Seed = f.seed
		if s = s.Scale(f.scale); f.quick {
			s = s.Scale(quickScale)
		}
		for _, a := range f.set {
			if s, err = set(s, a); err != nil {
				return o, err
			}
		}
		o.Scenarios = append(o.Scenarios, s)
	}
	if f.trace != "" {
		s, err := traced(f.trace)
		if err != nil {
			return o, err
		}
		s.Seed = f.seed
		o.Scenarios = append(o.Scenarios, s)
	}
	for i := range o.Scenarios {
		if f.maxRecords != 0 {
			o.Scenarios[i].Options.MaxRecords = f.maxRecords
		}
		if err := o.Scenarios[i].Validate(); err != nil {
			return o, err
		}
	}
	if o.Strategies, err = strategies(f.strategies); err != nil {
		return o, err
	}
	if !f.noMatch {
		o.Matched = "partitioned"
	}
	return o, nil
}

// strategies gives those named, or all.
func strategies(names []string) ([]compaction.Strategy, error) {
	if len(names) == 0 {
		names = catalog.Names()
	}
	var out []compaction.Strategy
	for _, n := range names {
		s, err := catalog.New(n)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func printSuite(w io.Writer, f *suiteFlags, results []*stats.Result, failed int, took time.Duration) error {
	var err error
	switch {
	case f.json:
		for _, r := range results {
			r.Series = nil
		}
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(map[string]any{"runs": results, "failed": failed, "seconds": took.Seconds()})
	case f.matchBounds:
		var n, lost int
		if n, lost, err = suite.Matched(w, results); err == nil {
			_, err = fmt.Fprintf(w, "%d comparisons, %d lost\n", n, lost)
		}
	case f.csv:
		err = suite.CSV(w, results)
	case f.markdown:
		err = suite.Markdown(w, results)
	default:
		err = suite.Text(w, results)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "suite: runs=%d failed=%d seconds=%.1f\n", len(results), failed, took.Seconds())
	return err
}

func compareCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compare BEFORE AFTER",
		Short: "Say what differs between two results folders of run-suite",
		Args:  usage(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			before, err := suite.Read(args[0])
			if err != nil {
				return err
			}
			after, err := suite.Read(args[1])
			if err != nil {
				return err
			}
			n, err := suite.Compare(c.OutOrStdout(), before, after)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "compare: runs=%d differ=%d\n", len(after), n)
			return err
		},
	}
}

func replayCommand() *cobra.Command {
	var names []string
	var out string
	c := &cobra.Command{
		Use:   "replay SEED",
		Short: "Run the random scenario of a seed again, as the property test does",
		Long:  "Run the random scenario of a seed under each strategy, with all checks. Pictures of a run that fails are kept.",
		Args:  usage(cobra.ExactArgs(1)),
	}
	c.Flags().StringSliceVar(&names, "strategy", nil, "only these strategies")
	c.Flags().StringVar(&out, "output", "", "folder for pictures of all runs")
	c.RunE = func(c *cobra.Command, args []string) error {
		var seed uint64
		if _, err := fmt.Sscan(args[0], &seed); err != nil {
			return usageError{fmt.Errorf("seed %q is no number", args[0])}
		}
		all, err := strategies(names)
		if err != nil {
			return usageError{err}
		}
		var failed error
		for _, s := range all {
			res, err := runOne(c, scenario.Random(seed), s, out)
			if err != nil {
				fmt.Fprintln(c.OutOrStdout(), err)
				failed = fmt.Errorf("seed %d fails", seed)
				continue
			}
			if err := printResult(c.OutOrStdout(), res); err != nil {
				return err
			}
		}
		return failed
	}
	return c
}

// bar shows progress on a terminal, or nothing at all where the output is a file.
type bar struct {
	w    *os.File
	last time.Time
}

func newBar(w io.Writer) *bar {
	f, ok := w.(*os.File)
	if !ok {
		return &bar{}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &bar{}
	}
	return &bar{w: f}
}

func (b *bar) show(part float64, done, runs int) {
	if b.w == nil || time.Since(b.last) < time.Second/10 {
		return
	}
	b.last = time.Now()
	const width = 40
	full := int(part * width)
	fmt.Fprintf(b.w, "\r[%-*s] %3.0f %%, %d of %d runs ", width, "========================================"[:full], part*100, done, runs)
}

func (b *bar) end() {
	if b.w != nil {
		fmt.Fprint(b.w, "\r\033[K")
	}
}
