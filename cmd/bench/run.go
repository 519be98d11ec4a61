package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/stratapg/strata/bench/plot"
	"github.com/stratapg/strata/bench/record"
	"github.com/stratapg/strata/bench/workload"
)

// profiles are the sizes of workloads, and how many rounds of each are counted.
var profiles = map[string]struct {
	size   workload.Size
	rounds int
}{"tiny": {workload.Tiny, 2}, "quick": {workload.Quick, 11}, "nvme": {workload.Long, 101}}

// runFlags are those of run.
type runFlags struct {
	profile, filter, dir string
	rounds               int
	folders              workload.Folders
}

func newRun() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run",
		Short: "Run workloads; a line of JSON for each",
		Long: `Prepares each workload in a folder of its own, does it once, and then some rounds that are counted. Lines of JSON go to standard
output, with the values of all rounds, the machine, the commit and the flags; medians and noise (how far apart the middle half of the rounds
lies) to standard error, with a warning where other processes were busy or the clock rate changed.`,
		Example: "  bench run --profile quick > new.jsonl\n  bench run --profile nvme --dir /mnt/nvme --run L0Stack > stack.jsonl",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	fs := c.Flags()
	fs.StringVar(&f.profile, "profile", "quick", "tiny, quick (a few minutes) or nvme (for a machine that is there for it)")
	fs.StringVar(&f.filter, "run", "", "workloads whose names match this regular expression alone")
	fs.StringVar(&f.dir, "dir", "", "folder on the disk to be measured; default the system's for temporary files")
	fs.IntVar(&f.rounds, "rounds", 0, "how many rounds are counted; default by profile")
	fs.StringVar(&f.folders.Sample, "sample", "", "folder of the sample cluster (testdata/sample), for base backups")
	fs.StringVar(&f.folders.Fixtures, "fixtures", "", "folder of real layer maps, to search those")
	return c
}

func (f *runFlags) run(c *cobra.Command) error {
	p, ok := profiles[f.profile]
	if !ok {
		return usageError{fmt.Errorf("--profile %q: tiny, quick and nvme there are", f.profile)}
	}
	if f.rounds > 0 {
		p.rounds = f.rounds
	}
	filter, err := regexp.Compile(f.filter)
	if err != nil {
		return usageError{fmt.Errorf("--run: %w", err)}
	}
	top, err := os.MkdirTemp(f.dir, "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(top)
	done := 0
	for _, w := range f.folders.All(p.size) {
		if !filter.MatchString(w.Name) {
			continue
		}
		dir := filepath.Join(top, "work")
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		l, err := measure(c.Context(), w, dir, p.rounds)
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			if errors.Is(err, workload.ErrNoEngine) {
				fmt.Fprintf(c.ErrOrStderr(), "%s: %v\n", w.Name, err)
				continue
			}
			return fmt.Errorf("%s: %w", w.Name, err)
		}
		l.Machine, l.Commit, l.Flags = record.Describe(top, modeOf(w.Name)), commit(), []string{"--profile=" + f.profile, fmt.Sprintf("--rounds=%d", p.rounds)}
		if err := l.Write(c.OutOrStdout()); err != nil {
			return err
		}
		tell(c, &l)
		done++
	}
	if done == 0 {
		return usageError{fmt.Errorf("--run %q: no workload has such a name", f.filter)}
	}
	return nil
}

// measure prepares a workload and does its rounds.
func measure(ctx context.Context, w workload.Workload, dir string, rounds int) (l record.Line, err error) {
	j, err := w.Prepare(ctx, dir)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	l = record.Line{Name: w.Name, Check: fmt.Sprintf("%08x", j.Check)}
	for _, m := range w.Metrics {
		l.Metrics = append(l.Metrics, record.Metric{Unit: m.Unit, More: m.More})
	}
	if _, err := j.Round(ctx); err != nil {
		return l, err
	}
	watch := record.NewWatch()
	for range rounds {
		values, err := j.Round(ctx)
		if err := errors.Join(err, ctx.Err()); err != nil {
			return l, err
		}
		for i, v := range values {
			l.Metrics[i].Values = append(l.Metrics[i].Values, v)
		}
	}
	l.Warnings = watch.Warnings()
	return l, nil
}

func tell(c *cobra.Command, l *record.Line) {
	fmt.Fprintf(c.ErrOrStderr(), "%-44s", l.Name)
	for i := range l.Metrics {
		m := &l.Metrics[i]
		median, noise := m.Quartiles()
		fmt.Fprintf(c.ErrOrStderr(), "  %s %s ±%.0f %%", plot.Short(median), m.Unit, 50*noise)
	}
	fmt.Fprintln(c.ErrOrStderr())
	for _, w := range l.Warnings {
		fmt.Fprintln(c.ErrOrStderr(), "  warning:", w)
	}
}

var ingestMode = regexp.MustCompile(`^Ingest/([^/]+)/`)

// modeOf gives the I/O mode of a workload.
func modeOf(name string) string {
	if m := ingestMode.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	return "direct-rw"
}

// commit is the one that this program was built from, as far as it knows.
func commit() (rev string) {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return ""
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value + rev
		case s.Key == "vcs.modified" && s.Value == "true":
			rev += "+changes"
		}
	}
	return rev
}
