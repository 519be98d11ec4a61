package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stratapg/strata/bench/plot"
	"github.com/stratapg/strata/bench/record"
	"github.com/stratapg/strata/bench/workload"
	"github.com/stratapg/strata/cmd/internal/cli"
)

// profiles are the sizes of workloads, and how many rounds of each are counted.
var profiles = map[string]profile{"tiny": {workload.Tiny, 2}, "quick": {workload.Quick, 11}, "nvme": {workload.Long, 101}}

type profile struct {
	size   workload.Size
	rounds int
}

// runFlags are those of run.
type runFlags struct {
	profile, filter, dir string
	rounds               int
	longest              time.Duration // of a workload's rounds
	heights, depths      []int         // instead of the profile's
	pages                int
	folders              workload.Folders
}

func newRun() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run",
		Short: "Run workloads; a line of JSON for each",
		Long: `Prepares each workload in a folder of its own, does it once, and then some rounds that are counted. Lines of JSON go to standard
output, with the values of all rounds, the machine, the commit and the flags; medians and noise (how far apart the middle half of the rounds
lies) to standard error, with a warning where other processes were busy or the clock rate changed.

The quick profile takes some three minutes on two processors, nvme some hours; --longest makes it shorter, with fewer rounds where they
are slow.`,
		Example: "  bench run --profile quick > new.jsonl\n  bench run --profile nvme --dir /mnt/nvme --run L0Stack > stack.jsonl",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	fs := c.Flags()
	fs.StringVar(&f.profile, "profile", "quick", "tiny, quick (a few minutes) or nvme (for a machine that is there for it)")
	fs.StringVar(&f.filter, "run", "", "workloads whose names match this regular expression alone")
	fs.StringVar(&f.dir, "dir", "", "folder on the disk to be measured; default the system's for temporary files")
	fs.IntVar(&f.rounds, "rounds", 0, "how many rounds are counted; default by profile")
	fs.DurationVar(&f.longest, "longest", 0, "begin no further round of a workload after this time; 0: all rounds")
	fs.IntSliceVar(&f.heights, "heights", nil, "heights of stacks; default by profile")
	fs.IntSliceVar(&f.depths, "depths", nil, "how many reads are under way; default by profile")
	fs.IntVar(&f.pages, "pages", 0, "pages of relations; default by profile")
	fs.StringVar(&f.folders.Sample, "sample", "", "folder of the sample cluster (testdata/sample), for base backups")
	fs.StringVar(&f.folders.Fixtures, "fixtures", "", "folder of real layer maps, to search those")
	return c
}

// profileOf gives the profile that the flags ask for.
func (f *runFlags) profileOf() (profile, error) {
	p, ok := profiles[f.profile]
	if !ok {
		return p, cli.Usagef("--profile %q: tiny, quick and nvme there are", f.profile)
	}
	for _, n := range slices.Concat(f.heights, f.depths, []int{f.pages + 1, f.rounds + 1}) {
		if n < 1 {
			return p, cli.Usagef("--heights %v, --depths %v, --pages %d, --rounds %d: all of them are 1 and more", f.heights, f.depths, f.pages, f.rounds)
		}
	}
	if f.heights != nil {
		p.size.Heights = f.heights
	}
	if f.depths != nil {
		p.size.Depths = f.depths
	}
	p.size.Pages, p.rounds = cmp.Or(f.pages, p.size.Pages), cmp.Or(f.rounds, p.rounds)
	return p, nil
}

func (f *runFlags) run(c *cobra.Command) error {
	p, err := f.profileOf()
	if err != nil {
		return err
	}
	if f.folders.Redoer, err = os.Executable(); err != nil {
		return err
	}
	filter, err := regexp.Compile(f.filter)
	if err != nil {
		return cli.Usagef("--run: %w", err)
	}
	top, err := os.MkdirTemp(f.dir, "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(top)
	done, given, rev := 0, flags(c, p.rounds), commit(c.Context())
	for _, w := range f.folders.All(p.size) {
		if !filter.MatchString(w.Name) {
			continue
		}
		dir := filepath.Join(top, "work")
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		l, err := measure(c.Context(), w, dir, p.rounds, f.longest)
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			if errors.Is(err, workload.ErrNoEngine) {
				fmt.Fprintf(c.ErrOrStderr(), "%s: %v\n", w.Name, err)
				continue
			}
			return fmt.Errorf("%s: %w", w.Name, err)
		}
		l.Machine, l.Commit, l.Flags = record.Describe(top, modeOf(w.Name)), rev, given
		if err := l.Write(c.OutOrStdout()); err != nil {
			return err
		}
		tell(c, &l)
		done++
	}
	if done == 0 {
		return cli.Usagef("--run %q: no workload has such a name", f.filter)
	}
	return nil
}

// flags are those that were given, but for folders, of which the disk is told with the machine, and the number of rounds.
func flags(c *cobra.Command, rounds int) []string {
	out := []string{fmt.Sprintf("--rounds=%d", rounds)}
	c.Flags().Visit(func(x *pflag.Flag) {
		switch x.Name {
		case "dir", "sample", "fixtures", "rounds":
		default:
			out = append(out, fmt.Sprintf("--%s='%s'", x.Name, strings.Trim(x.Value.String(), "[]")))
		}
	})
	return out
}

// measure prepares a workload and does its rounds, those that begin within the longest time, but one at least.
func measure(ctx context.Context, w workload.Workload, dir string, rounds int, longest time.Duration) (l record.Line, err error) {
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
	watch, begun := record.NewWatch(), time.Now()
	for n := range rounds {
		if n > 0 && longest > 0 && time.Since(begun) >= longest {
			break
		}
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

// commit is the one that this program was built from, or else that of the repository that it is run in, as go run leaves none behind.
func commit(ctx context.Context) (rev string) {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return ""
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value + rev
		case s.Key == "vcs.modified" && s.Value == "true":
			rev += changed
		}
	}
	if rev != "" {
		return rev
	}
	head, err := exec.CommandContext(ctx, "git", "rev-parse", "HEAD").Output()
	if err != nil {
		return "" // no repository
	}
	rev = strings.TrimSpace(string(head))
	if diff, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--untracked-files=no").Output(); err == nil && len(diff) > 0 {
		rev += changed
	}
	return rev
}

// changed follows the commit where files differ from it.
const changed = "+changes"
