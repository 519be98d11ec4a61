package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction/catalog"
	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/scenario"
	"github.com/stratapg/strata/simulator/stats"
	"github.com/stratapg/strata/simulator/suite"
)

// run runs a command line and gives what it prints.
func run(t *testing.T, args ...string) (string, error) {
	var out, log bytes.Buffer
	c := command(&profile{})
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&log)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func mustRun(t *testing.T, args ...string) string {
	out, err := run(t, args...)
	require.NoError(t, err, "%v", args)
	return out
}

// small are the flags of a run that takes a moment.
var small = []string{"--scenario", "one-hot-key", "--scale", "8192", "--set", "reads.number=1", "--set", "checks.off=true"}

func TestList(t *testing.T) {
	out := mustRun(t, "list")
	require.GreaterOrEqual(t, len(scenario.All()), 16)
	for _, c := range scenario.All() {
		require.Contains(t, out, c.Name)
		require.Contains(t, out, c.About)
	}
	for _, n := range catalog.Names() {
		require.Contains(t, out, n)
	}
}

// TestSimulate: what is printed is that of the run that was asked for, and files and flags come to the same.
func TestSimulate(t *testing.T) {
	dir := t.TempDir()
	out := mustRun(t, append([]string{"simulate", "--strategy", "tiered", "--seed", "9", "--output", dir}, small...)...)
	require.Contains(t, out, "scenario one-hot-key, strategy tiered, seed 9")
	for _, want := range []string{"write amp", "storage amp", "deltas  per read", "records per read", "stalled", "plans in", "hash"} {
		require.Contains(t, out, want)
	}
	for _, file := range []string{"tiered.svg", "tiered.html"} {
		require.FileExists(t, filepath.Join(dir, "one-hot-key", file))
	}

	result := func(args ...string) (r stats.Result) {
		require.NoError(t, json.Unmarshal([]byte(mustRun(t, append(args, "--json")...)), &r))
		require.NotEmpty(t, r.Hash)
		return r
	}
	flags := result(append([]string{"simulate", "--max-visits", "5"}, small...)...)
	file := filepath.Join(dir, "mine.json")
	require.NoError(t, os.WriteFile(file, []byte(mustRun(t, append([]string{"simulate", "--max-visits", "5", "--print-config"}, small...)...)), 0o666))
	require.Equal(t, flags.Hash, result("simulate", "--config", file).Hash, "from a file")
	require.NotEqual(t, flags.Hash, result("simulate", "--config", file, "--seed", "3", "--set", "phases.0.records=500").Hash)
	require.Empty(t, flags.Series)
	require.NotEmpty(t, result(append([]string{"simulate", "--series"}, small...)...).Series)
}

// TestEveryParameter: each flag, and --set with each name of the JSON, changes the scenario, and nothing else of it.
func TestEveryParameter(t *testing.T) {
	config := func(args ...string) (c sim.Config) {
		require.NoError(t, json.Unmarshal([]byte(mustRun(t, append([]string{"simulate", "--scenario", "thousand-branches", "--print-config"}, args...)...)), &c))
		return c
	}
	plain := config()
	for _, c := range []struct {
		args   []string
		change func(*sim.Config)
	}{
		{[]string{"--seed", "7"}, func(c *sim.Config) { c.Seed = 7 }},
		{[]string{"--bandwidth", "12"}, func(c *sim.Config) { c.Bandwidth = 12 }},
		{[]string{"--no-checks"}, func(c *sim.Config) { c.Checks.Off = true }},
		{[]string{"--full-checks", "4"}, func(c *sim.Config) { c.Checks.Full = 4 }},
		{[]string{"--max-visits", "8"}, func(c *sim.Config) { c.Options.MaxVisits = 8 }},
		{[]string{"--max-records", "99"}, func(c *sim.Config) { c.Options.MaxRecords = 99 }},
		{[]string{"--scale", "16"}, func(c *sim.Config) { *c = c.Scale(16) }},
		{[]string{"--set", "name=mine"}, func(c *sim.Config) { c.Name = "mine" }},
		{[]string{"--set", "options.CompactionThreshold=3", "--set", "pitr=5s"}, func(c *sim.Config) { c.Options.CompactionThreshold, c.PITR = 3, 5_000_000_000 }},
		{[]string{"--set", "phases.0.streams.0.keys.kind=uniform"}, func(c *sim.Config) { c.Phases[0].Streams[0].Keys.Kind = "uniform" }},
		{[]string{"--set", "branches.at=[1,2]"}, func(c *sim.Config) { c.Branches.At = []int{1, 2} }},
		{[]string{"--set", "regions.0.hot=100"}, func(c *sim.Config) { c.Regions[0].Hot = 100 }},
		{[]string{"--set", "reads.number=3"}, func(c *sim.Config) { c.Reads.Number = 3 }},
		{[]string{"--set", "restarts=[500]"}, func(c *sim.Config) { c.Restarts = []int{500} }},
		{[]string{"--set", "gc_period=1m", "--set", "horizon=5", "--set", "flush_after=2s"}, func(c *sim.Config) { c.GCPeriod, c.Horizon, c.FlushAfter = 60_000_000_000, 5, 2_000_000_000 }},
	} {
		want := plain
		want.Phases = append([]sim.Phase(nil), want.Phases...)
		want.Phases[0].Streams = append(want.Phases[0].Streams[:0:0], want.Phases[0].Streams...)
		want.Regions = append([]sim.Region(nil), want.Regions...)
		c.change(&want)
		wanted, err := json.Marshal(want)
		require.NoError(t, err)
		got, err := json.Marshal(config(c.args...))
		require.NoError(t, err)
		require.Equal(t, string(wanted), string(got), "%v", c.args)
	}
}

// TestSuite: the forms of the table, the folder, and what compare says of two.
func TestSuite(t *testing.T) {
	one, two, other := t.TempDir(), t.TempDir(), t.TempDir()
	args := append([]string{"run-suite", "--strategy", "tiered,partitioned", "--workers", "2"}, small...)
	last := regexp.MustCompile(`(?m)^suite: runs=3 failed=0 seconds=\d+\.\d\n$`)
	out := mustRun(t, append(args, "--output", one)...)
	require.Regexp(t, last, out)
	require.Regexp(t, `(?m)^one-hot-key +tiered +\d+\.\d\d`, out)
	require.Contains(t, out, "partitioned@tiered=")
	for _, file := range []string{"index.html", suite.ResultsFile, "one-hot-key/tiered.svg", "one-hot-key/partitioned-at-tiered.html"} {
		require.FileExists(t, filepath.Join(one, file))
	}
	index, err := os.ReadFile(filepath.Join(one, "index.html"))
	require.NoError(t, err)
	require.Contains(t, string(index), `class="best"`)
	require.Contains(t, string(index), "<polyline")

	var parsed struct {
		Runs   []stats.Result
		Failed int
	}
	require.NoError(t, json.Unmarshal([]byte(mustRun(t, append(args, "--output", other, "--seed", "5", "--json")...)), &parsed))
	require.Len(t, parsed.Runs, 3)
	require.EqualValues(t, 5, parsed.Runs[0].Seed)

	table, _, _ := strings.Cut(mustRun(t, append(args, "--output", two, "--csv", "--no-match")...), "suite:")
	rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 3)
	require.Contains(t, mustRun(t, append(args, "--output", two, "--markdown", "--no-match", "--max-records", "300")...), "| one-hot-key | tiered |")
	require.Contains(t, mustRun(t, append(args, "--output", two, "--match-bounds")...), "1 comparisons, ")

	require.Contains(t, mustRun(t, "compare", one, one), "compare: runs=3 differ=0")
	differs := mustRun(t, "compare", one, other)
	require.Contains(t, differs, "one-hot-key, tiered:")
	require.NotContains(t, differs, "differ=0")
}

func TestReplay(t *testing.T) {
	out := mustRun(t, "replay", "3", "--strategy", "legacy,tiered")
	require.Contains(t, out, "scenario random-3, strategy legacy, seed 3")
	require.Contains(t, out, "scenario random-3, strategy tiered, seed 3")
	require.NotContains(t, out, "partitioned")
	dir := t.TempDir()
	mustRun(t, "replay", "3", "--strategy", "legacy", "--output", dir)
	require.FileExists(t, filepath.Join(dir, "random-3", "legacy.html"))
}

// TestErrors: the exit code tells wrong usage from a failure, and the message says what there is instead.
func TestErrors(t *testing.T) {
	damaged := filepath.Join(t.TempDir(), "damaged")
	require.NoError(t, os.MkdirAll(damaged, 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(damaged, suite.ResultsFile), []byte("no"), 0o666))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"simulate", "--scenario", "no"}, 2, "there are uniform-20GB-5GB, uniform,"},
		{[]string{"simulate", "--strategy", "no"}, 2, "partitioned"},
		{[]string{"simulate", "--no-such-flag"}, 2, "--no-such-flag"},
		{[]string{"simulate", "--seed", "x"}, 2, "--seed"},
		{[]string{"simulate", "--set", "records"}, 2, "want NAME=VALUE"},
		{[]string{"simulate", "--set", "no.such=1"}, 2, "no"},
		{[]string{"simulate", "--set", "phases.7.records=1"}, 2, "none of the 1 places"},
		{[]string{"simulate", "--set", "options.MaxVisits=-1"}, 2, "MaxVisits is -1: must be from 1"},
		{[]string{"simulate", "--config", "/no/such/file"}, 2, "/no/such/file"},
		{[]string{"simulate", "--trace", damaged + "/" + suite.ResultsFile}, 2, suite.ResultsFile},
		{[]string{"run-suite", "--scenario", "no"}, 2, "there are uniform-20GB-5GB"},
		{[]string{"run-suite", "--strategy", "no"}, 2, "legacy"},
		{[]string{"run-suite", "--max-records", "-3"}, 2, "MaxRecords is -3"},
		{[]string{"replay", "x"}, 2, `seed "x" is no number`},
		{[]string{"replay"}, 2, "accepts 1 arg"},
		{[]string{"compare", "one"}, 2, "accepts 2 arg"},
		{[]string{"compare", "/no/such", damaged}, 1, "/no/such"},
		{[]string{"compare", damaged, damaged}, 1, "is no results folder"},
		{[]string{"nothing"}, 2, "unknown command"},
	} {
		_, err := run(t, c.args...)
		require.ErrorContains(t, err, c.want, "%v", c.args)
		require.Equal(t, c.code, exitCode(err), "%v: %v", c.args, err)
	}
}

// TestHelp: every command and flag is explained, and each example is of a command and flags that there are.
func TestHelp(t *testing.T) {
	root := command(&profile{})
	for _, c := range append(root.Commands(), root) {
		help := mustRun(t, append(strings.Fields(strings.TrimPrefix(c.CommandPath(), root.Name())), "--help")...)
		require.Contains(t, help, c.Short[:10], c.Name())
		require.NotEmpty(t, c.Short, c.Name())
		c.Flags().VisitAll(func(f *pflag.Flag) { require.Greater(t, len(f.Usage), 10, "%s --%s", c.Name(), f.Name) })
		for _, line := range strings.Split(c.Example, "\n") {
			_, ours, found := strings.Cut(line, root.Name()+" ")
			if !found {
				continue
			}
			ours, _, _ = strings.Cut(ours, ">")
			sub, rest, err := command(&profile{}).Find(strings.Fields(ours))
			require.NoError(t, err, line)
			require.NoError(t, sub.ParseFlags(rest), line)
			require.NotEqual(t, root.Name(), sub.Name(), line)
		}
	}
	for _, name := range []string{"simulate", "run-suite", "replay"} {
		c, _, err := root.Find([]string{name})
		require.NoError(t, err)
		require.NotEmpty(t, c.Long, name)
	}
}

// TestBar: progress is shown on one line, which goes in the end.
func TestBar(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "terminal"))
	require.NoError(t, err)
	defer f.Close()
	require.Nil(t, newBar(f).w, "a file is no terminal")
	require.Nil(t, newBar(&bytes.Buffer{}).w)
	b := &bar{w: f}
	b.show(0.5, 3, 9)
	b.show(0.6, 4, 9) // too soon after
	b.end()
	raw, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	require.Equal(t, "\r["+strings.Repeat("=", 20)+strings.Repeat(" ", 20)+"]  50 %, 3 of 9 runs \r\033[K", string(raw))
}
