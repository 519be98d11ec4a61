package suite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/compaction"
	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/draw"
	"github.com/stratapg/strata/simulator/stats"
)

// Options say what is run.
type Options struct {
	Scenarios  []sim.Config
	Strategies []compaction.Strategy
	// Matched also runs a strategy that keeps a bound on reads with the bounds that others came to: its name, then "@" and
	// theirs: of deltas their p99, and of records, where a bound on these is kept, their worst read if that is above it. Empty is none.
	Matched string
	// Dir is the folder for pictures and tables; empty is none.
	Dir string
	// Workers is how many run at a time, the processors if 0.
	Workers int
	// Progress is told from time to time how much of all is done, from 0 to 1, and how many runs.
	Progress func(part float64, done, runs int)
}

// runner is a suite under way.
type runner struct {
	Options
	mu    sync.Mutex
	parts []float64 // done, of each run
	done  int
	plans []sim.PlanMeter // of each run
}

// task is one run.
type task struct {
	index    int
	cfg      sim.Config
	strategy compaction.Strategy
	label    string
}

// Run does all runs. That a run failed stands in its result; an error says that the suite could not go on.
func Run(ctx context.Context, o Options) ([]*stats.Result, error) {
	r := &runner{Options: o}
	if r.Workers == 0 {
		r.Workers = runtime.GOMAXPROCS(0)
	}
	var first []task
	for _, c := range o.Scenarios {
		for _, s := range o.Strategies {
			first = append(first, task{len(first), c, s, s.Name()})
		}
	}
	total := len(first)
	if r.bounded() != nil {
		total += len(o.Scenarios) * (len(o.Strategies) - 1)
	}
	r.parts = make([]float64, total)
	r.plans = make([]sim.PlanMeter, total)
	results := make([]*stats.Result, total)
	if err := r.all(ctx, first, results); err != nil {
		return nil, err
	}
	second := r.matched(results[:len(first)])
	if err := r.all(ctx, second, results); err != nil {
		return nil, err
	}
	for _, t := range append(first, second...) {
		_ = r.plans[t.index].Measure(t.strategy, results[t.index]) // what it says stands in the result
	}
	return inOrder(results[:len(first)+len(second)], o.Scenarios), nil
}

// bounded gives the strategy that is run with others' bounds.
func (r *runner) bounded() compaction.Strategy {
	for _, s := range r.Strategies {
		if s.Name() == r.Matched {
			return s
		}
	}
	return nil
}

// matched makes the runs with the bounds that others came to.
func (r *runner) matched(results []*stats.Result) []task {
	s := r.bounded()
	if s == nil {
		return nil
	}
	var out []task
	for i, c := range r.Scenarios {
		for k, other := range r.Strategies {
			if other.Name() == s.Name() {
				continue
			}
			its := results[i*len(r.Strategies)+k]
			m := c
			m.Options = c.Options.WithDefaults()
			m.Options.MaxVisits = max(its.ReadAmpP99, 2)
			if m.Options.MaxRecords = c.Options.MaxRecords; m.Options.MaxRecords != 0 {
				// Others promise nothing; what a bound is on is the worst read, and a page alone need not show in a p99.
				m.Options.MaxRecords = max(its.ReadRecords.Max, m.Options.MaxRecords)
			}
			out = append(out, task{len(results) + len(out), m, s, s.Name() + "@" + other.Name()})
		}
	}
	return out
}

// all does tasks, a few at a time.
func (r *runner) all(ctx context.Context, tasks []task, results []*stats.Result) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.Workers)
	for _, t := range tasks {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			res, err := r.one(ctx, t)
			results[t.index] = res
			return err
		})
	}
	return g.Wait()
}

// one does a run with its pictures.
func (r *runner) one(ctx context.Context, t task) (*stats.Result, error) {
	rec := draw.NewRecorder()
	watch := sim.Observer{}
	if r.Dir != "" {
		watch = rec.Observer()
	}
	watch.Plan = r.plans[t.index].Watch
	watch.Progress = func(done, total int64) { r.progress(t.index, min(float64(done)/float64(max(total, 1)), 1), false) }
	res, err := sim.Run(ctx, t.cfg, t.strategy, watch)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if res == nil {
		res = &stats.Result{Scenario: t.cfg.Name, Error: err.Error()}
	}
	res.Strategy, res.Bound = t.label, t.cfg.Options.MaxVisits
	r.progress(t.index, 1, true)
	if r.Dir == "" {
		return res, nil
	}
	return res, Pictures(filepath.Join(r.Dir, t.cfg.Name), fileName(t.label), rec, draw.Title{Scenario: t.cfg.Name, Strategy: t.label, Seed: t.cfg.Seed})
}

func (r *runner) progress(i int, part float64, ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parts[i] = part
	if ended {
		r.done++
	}
	if r.Progress == nil {
		return
	}
	sum := 0.0
	for _, p := range r.parts {
		sum += p
	}
	r.Progress(sum/float64(len(r.parts)), r.done, len(r.parts))
}

// fileName is a strategy's label as part of a file's name.
func fileName(label string) string { return strings.ReplaceAll(label, "@", "-at-") }

// Pictures writes a run's picture and page into a folder.
func Pictures(dir, name string, rec *draw.Recorder, t draw.Title) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	write := func(ext string, f func(*os.File) error) error {
		file, err := os.Create(filepath.Join(dir, name+ext))
		if err != nil {
			return err
		}
		if err := f(file); err != nil {
			file.Close()
			return fmt.Errorf("writing %s: %w", file.Name(), err)
		}
		return file.Close()
	}
	if err := write(".svg", func(f *os.File) error { return rec.SVG(f, t) }); err != nil {
		return err
	}
	return write(".html", func(f *os.File) error { return rec.Page(f, t) })
}

// inOrder puts results of one scenario together.
func inOrder(results []*stats.Result, scenarios []sim.Config) []*stats.Result {
	out := make([]*stats.Result, 0, len(results))
	for _, c := range scenarios {
		for _, res := range results {
			if res != nil && res.Scenario == c.Name {
				out = append(out, res)
			}
		}
	}
	return out
}
