package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/inspect/layercheck"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// TestCompactedClusters takes a server's work through layers that are compacted and collected, on a branch too, and while strategies
// follow each other: in the end the cluster is PostgreSQL's, what stays readable between is what it was before, and a server starts
// from it.
func TestCompactedClusters(t *testing.T) {
	versions := []pg.Version{pg.V15, pg.V17}
	if testkit.Long() {
		versions = []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17}
	} else if testkit.UnderRace {
		versions = versions[:1]
	}
	for _, v := range versions {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			c := compactedWork(t, v)
			for _, l := range lives(v) {
				t.Run(fmt.Sprintf("%s of %d KiB", l.strategy, l.distance>>10), func(t *testing.T) { c.live(t, l.strategy, l.distance) })
			}
		})
	}
}

// life says how a store lives: its first strategy, and the size of what it flushes.
type life struct {
	strategy string
	distance int64
}

// lives lists those of a version: each strategy with each size, or some of them.
func lives(v pg.Version) (out []life) {
	if testkit.Long() {
		for _, s := range strata.CompactionStrategies() {
			out = append(out, life{s, 4 * mib}, life{s, mib}, life{s, mib / 4})
		}
		return out
	}
	if testkit.UnderRace || v != pg.V15 {
		return []life{{"partitioned", 4 * mib}}
	}
	return []life{{"partitioned", 2 * mib}, {"legacy", mib}, {"tiered", 4 * mib}}
}

// compacted is the work of a server, and what is known of it.
type compacted struct {
	worked
	ends  []page.LSN
	truth map[page.LSN]*sample.Pages // by a timeline that is not compacted
	lsns  []page.LSN                 // of truth, in order; the last is the end
	rows  string                     // what the server answered at the end
}

// theRows asks a server for something of all that the work has made.
const theRows = `select string_agg(x, ' ') from (
	select count(*) || '/' || coalesce(sum(hashtext(a::text)::bigint), 0) x from accounts a union all
	select count(*) || '/' || coalesce(sum(hashtext(a::text)::bigint), 0) from history a union all
	select count(*) || '/' || coalesce(sum(hashtext(a::text)::bigint), 0) from pg_class a) y`

// rowsWork changes few rows often and others now and then, and has relations that come, shrink and go.
func rowsWork(p *testkit.Postgres) {
	s := p.Connect("postgres")
	defer s.Close()
	s.Each(
		"create table accounts(id int primary key, v int, f text) with (fillfactor = 80)",
		"create table history(id serial, account int, at timestamptz default now())",
		"insert into accounts select g, 0, repeat('x', 80) from generate_series(1, 20000) g",
		"vacuum analyze accounts",
	)
	for i := range testkit.Size(2, 3, 20) {
		s.Each(
			`do $$ begin for i in 1..4000 loop
				update accounts set v = v + 1 where id = 1 + (i * 7919) % 20000;
				update accounts set v = v + i where id in (1, 4001, 8001, 12001, 16001);
				insert into history(account) values (i);
				if i % 10 = 0 then commit; end if;
			end loop; end $$`,
			fmt.Sprintf("update accounts set f = repeat('%d', 90) where id %% 7 = %d", i, i),
			fmt.Sprintf("create table big_%d as select g, md5(g::text) from generate_series(1, 10000) g", i),
			fmt.Sprintf("create index on big_%d(md5)", i),
			"checkpoint",
			"vacuum",
		)
		if i > 0 {
			s.Each(fmt.Sprintf("drop table big_%d", i-1), "delete from history where id % 3 = 0", "vacuum history")
		}
	}
	s.Each(fmt.Sprintf("create database copy%s", strategyOf(p.Version)), "truncate history", "insert into history(account) select generate_series(1, 100)")
}

// strategyOf has databases copied page by page where that is a choice, so that the copy has all of its pages in the WAL.
func strategyOf(v pg.Version) string {
	if v < pg.V15 {
		return ""
	}
	return " strategy wal_log"
}

func compactedWork(t *testing.T, v pg.Version) *compacted {
	c := &compacted{truth: map[page.LSN]*sample.Pages{}}
	p := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"wal_keep_size": "8GB", "track_commit_timestamp": "on", "full_page_writes": "off"}})
	c.worked = worked{version: v, server: p, base: filepath.Join(testkit.ServerDir(t), "base")}
	testkit.CopyTree(t, c.base, p.Data)
	p.Start()
	rowsWork(p)
	if testkit.Long() {
		p.Workload(testkit.Work{Seed: uint64(v) + 1, LeaveOpen: true})
	}
	s := p.Connect("postgres")
	c.rows = s.Value(theRows)
	s.Close()
	p.Stop()
	c.wal = p.CopyWAL()
	c.ends = testkit.RecordEnds(t, v, c.base, c.wal)

	tl := importAndIngest(t, filepath.Join(t.TempDir(), "store"), c.base, c.wal, 64*mib)
	requireSameCluster(t, tl, v, p.Data, tl.LastRecordLSN(), tl.Info().OldestLSN)
	for _, part := range []int{20, 50, 80, 95, 100} { // of a hundred
		lsn := c.ends[(len(c.ends)-1)*part/100]
		got, err := sample.Collect(t.Context(), tl, v, lsn)
		require.NoError(t, err)
		require.Empty(t, got.Failed)
		c.truth[lsn], c.lsns = got.Pages, append(c.lsns, lsn)
	}
	t.Logf("%d KiB of WAL", (tl.LastRecordLSN()-tl.Info().InitialLSN)>>10)
	return c
}

// same demands that what can be read at an LSN is what it was without compaction.
func (c *compacted) same(t *testing.T, tl *strata.Timeline, lsn page.LSN) {
	t.Helper()
	got, err := sample.Collect(t.Context(), tl, c.version, lsn)
	require.NoError(t, err)
	require.Empty(t, got.Failed)
	r := sample.Compare(got.Pages, c.truth[lsn])
	require.Zero(t, r.Different, "at %s: %v", lsn, r.First)
}

// end demands that the timeline ends as the server does. Where its beginning cannot be read any more, so that it does not tell which
// databases the WAL has made, that is what is left of the timeline that was compared before.
func (c *compacted) end(t *testing.T, tl *strata.Timeline) {
	t.Helper()
	last := c.lsns[len(c.lsns)-1]
	require.Equal(t, last, tl.LastRecordLSN())
	c.same(t, tl, last)
	if i := tl.Info(); i.Ancestor == nil && i.OldestLSN == i.InitialLSN {
		requireSameCluster(t, tl, c.version, c.server.Data, last, i.InitialLSN)
	}
}

// live is one store's life.
func (c *compacted) live(t *testing.T, strategy string, distance int64) {
	o := strata.Options{
		Dir: filepath.Join(t.TempDir(), "store"), CreateIfMissing: true, CheckpointDistance: distance, ValidateIO: true,
		Compaction: strata.Compaction{Strategy: strategy, Period: strata.Every(time.Hour), // and whenever something was flushed
			Knobs: compaction.Options{CompactionTargetSize: 2 * distance, CompactionThreshold: 3, MaxVisits: 6, MaxRecords: 60}},
		GC: strata.GarbageCollection{Period: strata.Every(0), LeaseGrace: strata.Every(0)},
	}
	e, err := strata.Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	tenant, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, _, err := tenant.Import(t.Context(), strata.ImportOptions{PGData: c.base, Name: timelineName})
	require.NoError(t, err)

	c.ingest(t, tl, c.lsns[1])
	branch, err := tenant.Branch(t.Context(), tl, strata.BranchOptions{Name: "branch", At: c.lsns[0]})
	require.NoError(t, err)
	c.compact(t, tl, "")
	c.ingest(t, tl, 0)
	c.compact(t, tl, "")
	for _, lsn := range c.lsns {
		c.same(t, tl, lsn)
	}
	c.end(t, tl)

	// What is below the last two goes, but for what the branch begins with.
	c.collect(t, tl, strata.GCOptions{Horizon: int64(tl.LastRecordLSN() - c.lsns[2]), PITR: -1})
	_, err = tl.Get(t.Context(), page.ControlFileKey, c.lsns[1])
	require.ErrorIs(t, err, strata.ErrBeforeHistory)
	c.same(t, tl, c.lsns[2])
	c.same(t, tl, c.lsns[3])
	c.end(t, tl)
	c.same(t, branch, c.lsns[0])

	// The branch goes the way of its ancestor.
	_, err = branch.Ingest(t.Context(), strata.IngestOptions{Dir: c.wal})
	require.ErrorIs(t, err, strata.ErrOrigin)
	require.Equal(t, c.lsns[0], branch.LastRecordLSN())
	_, err = branch.Ingest(t.Context(), strata.IngestOptions{Dir: c.wal, AncestorWAL: true})
	require.NoError(t, err)
	require.NoError(t, branch.Flush(t.Context()))
	c.compact(t, branch, "")
	for _, lsn := range c.lsns {
		c.same(t, branch, lsn)
	}
	c.collect(t, branch, strata.GCOptions{Horizon: -1, PITR: -1})
	c.end(t, branch)

	// Others go on with what the strategy has made.
	for _, other := range others(strategy) {
		c.compact(t, tl, other)
		c.compact(t, branch, other)
		c.same(t, tl, c.lsns[3])
	}
	c.collect(t, tl, strata.GCOptions{Horizon: -1, PITR: time.Millisecond})
	c.end(t, tl)
	c.end(t, branch)
	r, err := layercheck.Run(t.Context(), e, layercheck.Options{Decode: true})
	require.NoError(t, err)
	require.Zero(t, r.Corrupt, "%v", r.Corruptions)
	for _, tl := range []*strata.Timeline{tl, branch} {
		c.boots(t, tl)
	}
}

// others lists the other strategies, and then the strategy again.
func others(strategy string) []string {
	all := strata.CompactionStrategies()
	i := slices.Index(all, strategy)
	return append(slices.Concat(all[i+1:], all[:i]), strategy)
}

// ingest takes in the WAL up to an LSN, 0 for all.
func (c *compacted) ingest(t *testing.T, tl *strata.Timeline, until page.LSN) {
	t.Helper()
	_, err := tl.Ingest(t.Context(), strata.IngestOptions{Dir: c.wal, Until: until})
	require.NoError(t, err)
	if until != 0 {
		require.Equal(t, until, tl.LastRecordLSN())
	}
	require.NoError(t, tl.Flush(t.Context()))
}

func (c *compacted) compact(t *testing.T, tl *strata.Timeline, strategy string) {
	t.Helper()
	if strategy != "" {
		require.NoError(t, tl.SetCompactionStrategy(strategy))
	}
	before := tl.Info()
	r, err := tl.Compact(t.Context(), strata.CompactOptions{})
	require.NoError(t, err)
	t.Logf("compacted %s %s: %d layers of %d KiB to %d of %d KiB by %d jobs", tl.Info().Name, strategy, before.Layers, before.LayerBytes>>10,
		r.Layers, tl.Info().LayerBytes>>10, r.Jobs)
}

// collect gives up history, which must be some.
func (c *compacted) collect(t *testing.T, tl *strata.Timeline, o strata.GCOptions) {
	t.Helper()
	r, err := tl.GC(t.Context(), o)
	require.NoError(t, err)
	require.Greater(t, r.Cutoff, r.Before, "%s", r.Limit)
	t.Logf("collected %s up to %s: %d layers of %d KiB, %d kept", tl.Info().Name, r.Cutoff, r.Removed, r.RemovedBytes>>10, r.Kept)
}

// boots starts a server from a base backup, which answers as the one before, and goes on.
func (c *compacted) boots(t *testing.T, tl *strata.Timeline) {
	p := backupAt(t, tl, c.version, tl.LastRecordLSN())
	p.Start()
	s := p.Connect("postgres")
	require.Equal(t, c.rows, s.Value(theRows))
	s.Each("update accounts set v = v + 1", "vacuum", "checkpoint")
	s.Close()
	p.Stop()
}
