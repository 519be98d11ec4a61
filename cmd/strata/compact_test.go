package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
)

// ingested makes a store of the sample in small layers, and gives what follows each command.
func ingested(t *testing.T) (at func(args ...string) []string) {
	work := t.TempDir()
	cluster, wal := filepath.Join(work, "cluster"), filepath.Join(work, "wal")
	s, err := sample.Open("../../testdata/sample")
	require.NoError(t, err)
	require.NoError(t, s.ExtractCluster(cluster))
	require.NoError(t, s.ExtractWAL(wal))
	at = func(args ...string) []string { return append(args, "--store", filepath.Join(work, "store")) }
	must(t, at("import", "--pgdata", cluster)...)
	must(t, at("ingest", "--wal", wal, "--checkpoint-distance", "256KiB")...)
	return at
}

// What a plan says is done; a dry run changes nothing; and pictures show it.
func TestCompactAndCollect(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	at := ingested(t)
	dir := t.TempDir()
	svg := func(name string) string { return filepath.Join(dir, name+".svg") }
	drawn := func(name string, wants ...string) {
		b, err := os.ReadFile(svg(name))
		require.NoError(t, err)
		for _, w := range wants {
			require.Contains(t, string(b), w, name)
		}
	}
	before := must(t, at("layers")...)
	for _, strategy := range strata.CompactionStrategies() {
		plan := must(t, at("compact", "--dry-run", "--strategy", strategy, "--draw", svg(strategy))...)
		require.Regexp(t, `expected: \d+ of \d+ layers \(\d+ bytes\) are replaced by about [1-9]\d* bytes`, plan)
		require.Regexp(t, `^compact: jobs=0 planned=[1-9]\d* bytes_in=\d+ bytes_out=\d+ layers=\d+ seconds=\S+$`, lastLine(plan))
		if strategy == "partitioned" { // reads replay more records than it allows: first it makes images, which replace nothing
			require.Contains(t, plan, "records, of 256")
			require.Contains(t, plan, "; ingest stops at 16\n", "as it does while an engine runs, not at what a thorough run aims at")
			drawn(strategy, `class="planned"`, "before", "after")
		} else {
			require.Contains(t, plan, "  replaces ", strategy)
			drawn(strategy, `class="planned"`, ` gone"`, "before", "after")
		}
		require.Equal(t, before, must(t, at("layers")...), "a plan changes nothing")
	}
	done := must(t, at("compact", "--strategy", "legacy", "--draw", svg("done"))...)
	require.Regexp(t, `^compact: jobs=[1-9]\d* bytes_in=\d+ bytes_out=\d+ layers=\d+ max_deltas=\d+ seconds=\S+ peak_mib=\d+$`, lastLine(done))
	drawn("done", ` gone"`, `image new"`)
	again := must(t, at("compact", "--dry-run", "--strategy", "legacy")...)
	require.Contains(t, lastLine(again), "planned=0", "there is nothing left to do")

	// Which layers flushes make, and whether images hide one of them altogether, is a matter of time: some stores have nothing to collect.
	plan := ""
	for tries := 0; tries < 20 && !strings.Contains(plan, "removes "); tries++ {
		if tries > 0 {
			at = ingested(t)
			must(t, at("compact", "--strategy", "legacy")...)
		}
		plan = must(t, at("gc", "--dry-run", "--horizon", "0", "--pitr", "0", "--draw", svg("gcplan"))...)
	}
	layers := must(t, at("layers")...)
	require.Contains(t, plan, "removes ")
	require.Contains(t, plan, "newer images hide it from every read")
	drawn("gcplan", ` gone"`)
	require.Equal(t, layers, must(t, at("layers")...))
	out := must(t, at("gc", "--horizon", "0", "--pitr", "0", "--draw", svg("gc"))...)
	require.Equal(t, lastLine(plan), lastLine(out), "what was planned was done")
	drawn("gc", ` gone"`)
	require.NotEqual(t, layers, must(t, at("layers")...))
	require.Contains(t, must(t, at("verify", "layers")...), "corrupt=0")
}

// Progress is a line a second at most: what is done, of how much, in percent, how fast, and how long it still takes.
func TestProgressOfCompaction(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b)
	listen := compactProgress(p)
	i := strata.CompactionInfo{Inputs: 7, TotalBytes: 100 << 20, BytesRead: 25 << 20, Left: 3 * time.Second}
	listen(i)
	require.Empty(t, b.String(), "not at once")
	p.last, p.start = p.last.Add(-2*progressEvery), p.start.Add(-time.Second)
	listen(i)
	listen(i)
	require.Equal(t, 1, strings.Count(b.String(), "\n"))
	require.Regexp(t, `^compact: \w+ of 7 layers, 3s left, 25 MiB of 100 MiB \(25 %\), \d+ MiB/s\n$`, b.String())
}
