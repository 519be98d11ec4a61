package simulator_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/compaction/partitioned"
	"github.com/stratapg/strata/compaction/tiered"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/draw"
	"github.com/stratapg/strata/simulator/mock"
	"github.com/stratapg/strata/simulator/scenario"
	"github.com/stratapg/strata/simulator/suite"
)

// TestNeonsFigures: tiered gives on the one scenario of Neon's suite what Neon's simulator prints.
func TestNeonsFigures(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	c, err := scenario.Get("uniform-20GB-5GB")
	require.NoError(t, err)
	c.Reads, c.Checks.Off = sim.Reads{}, true
	r, err := sim.Run(t.Context(), c, tiered.New(), sim.Observer{})
	require.NoError(t, err)
	require.Equal(t, []int64{19073, 58889, 34816, 231, 136}, []int64{r.WALMB, r.CreatedMB, r.DeletedMB, r.FilesCreated, r.FilesDeleted})
	require.Equal(t, "3.09 1.26", fmt.Sprintf("%.2f %.2f", r.WriteAmp, r.StorageAmp))
}

// TestSameEverywhere: the same seed gives the same run, with however many processors, and another seed another.
func TestSameEverywhere(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	names := catalog.Names()
	for _, name := range names[:testkit.Size(1, len(names), len(names))] {
		hash := func(processors int, seed uint64) string {
			runtime.GOMAXPROCS(processors)
			c, err := scenario.Get("restarts")
			require.NoError(t, err)
			c = c.Scale(int64(testkit.Size(1024, 256, 32)))
			c.Seed = seed
			s, err := catalog.New(name)
			require.NoError(t, err)
			r, err := sim.Run(t.Context(), c, s, sim.Observer{})
			require.NoError(t, err)
			return r.Hash
		}
		one := hash(1, 1)
		require.Equal(t, one, hash(4, 1), name)
		require.NotEqual(t, one, hash(1, 2), name)
	}
}

// TestSlowIngest: where a record takes longer than there is between two events, records come all the same.
func TestSlowIngest(t *testing.T) {
	c, err := scenario.Get("restarts")
	require.NoError(t, err)
	c = c.Scale(4096)
	c.Reads, c.Checks.Off = sim.Reads{}, true
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := sim.Run(ctx, c, tiered.New(), sim.Observer{})
	require.NoError(t, err)
	require.Positive(t, r.Records)
}

// TestRandomScenarios runs random scenarios under all strategies with all checks: always the same few, or, in the long form, others
// each time for ten minutes. A run that fails leaves its picture, and compaction-simulator replay runs it again.
func TestRandomScenarios(t *testing.T) {
	first, some := uint64(2), testkit.Size(2, 7, math.MaxInt)
	ctx := t.Context()
	if testkit.Long() {
		first = testkit.Rand(t, 0).Uint64() >> 32
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, 10*time.Minute)
		defer cancel()
	}
	scenarios, records := 0, int64(0)
	runs := map[string]int{}
	for ; scenarios < some && ctx.Err() == nil; scenarios++ {
		for _, name := range catalog.Names() {
			s, err := catalog.New(name)
			require.NoError(t, err)
			c := scenario.Random(first + uint64(scenarios))
			if !testkit.Long() {
				c.Checks.Full = max(c.Checks.Full, 30) // most of the time goes into checks of everything
			}
			n, err := passes(ctx, t, c, s)
			if err != nil {
				break // the time is over
			}
			runs[name]++
			records += n
		}
	}
	for _, name := range catalog.Names() {
		require.Positive(t, runs[name], name)
	}
	t.Logf("random scenarios from seed %d on, %d records: runs by strategy %v, no checker failed", first, records, runs)
}

// TestHardScenarios runs those again of which one failed before.
func TestHardScenarios(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, c := range []struct {
		seed     uint64
		strategy string
	}{
		{200012, "partitioned"}, {200022, "partitioned"}, // images of one plan left a hole between tables
		{200013, "legacy"}, {200086, "legacy"}, // a fold of images and no records lost them
		{200045, "legacy"}, {200061, "legacy"}, // a branch at the horizon of a fold had released some keys
	} {
		s, err := catalog.New(c.strategy)
		require.NoError(t, err)
		_, err = passes(t.Context(), t, scenario.Random(c.seed), s)
		require.NoError(t, err)
	}
}

// passes fails the test where a checker fails, and gives how many records were taken in. An error says that the context has ended.
func passes(ctx context.Context, t *testing.T, c sim.Config, s compaction.Strategy) (int64, error) {
	rec := draw.NewRecorder()
	watch := rec.Observer()
	var plans sim.PlanMeter
	watch.Plan = plans.Watch
	res, err := sim.Run(ctx, c, s, watch)
	if errors.Is(err, ctx.Err()) && err != nil {
		return 0, err
	}
	if err == nil {
		err = plans.Measure(s, res)
	}
	if err != nil {
		dir := filepath.Join(os.TempDir(), "strata-simulator")
		picture := suite.Pictures(filepath.Join(dir, c.Name), s.Name(), rec, draw.Title{Scenario: c.Name, Strategy: s.Name(), Seed: c.Seed})
		t.Fatalf("%v\npictures are in %s (%v); again: compaction-simulator replay %d --strategy %s", err, dir, picture, c.Seed, s.Name())
	}
	if s.Name() == partitioned.New().Name() {
		require.LessOrEqual(t, res.ReadAmpMax, c.Options.MaxVisits, "deltas that a read visits; compaction-simulator replay %d --strategy %s", c.Seed, s.Name())
	}
	return res.Records, nil
}

// TestBoundOnDeltas: however WAL comes, no read visits more deltas than the bound, at any time of the run: while a merge publishes its
// outputs too.
func TestBoundOnDeltas(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	names := []string{"bursts", "restarts", "thousand-branches", "metadata", "hot-cold", "one-hot-key", "giant-table", "shrinking"}
	for _, name := range names[:testkit.Size(0, 3, len(names))] {
		c, err := scenario.Get(name)
		require.NoError(t, err)
		c = c.Scale(int64(testkit.Size(0, 256, 16)))
		c.Checks.Off = true
		for _, bound := range []int{6, 22} {
			c.Options.MaxVisits = bound
			r, err := sim.Run(t.Context(), c, partitioned.New(), sim.Observer{})
			require.NoError(t, err)
			require.LessOrEqual(t, r.ReadAmpMax, bound, name)
			require.Greater(t, r.ReadAmpMax, bound/2, name)
		}
	}
}

// broken is a strategy with a fault. Whatever compaction's own checks would say of it, the mock's have to find it too.
type broken struct {
	compaction.Strategy
	spoil func(s *compaction.Snapshot, p *compaction.Plan)
}

func (b broken) Plan(s *compaction.Snapshot) compaction.Plan {
	p := b.Strategy.Plan(s)
	b.spoil(s, &p)
	return p
}

// TestBrokenStrategies: each kind of harm is caught.
func TestBrokenStrategies(t *testing.T) {
	for _, c := range []struct {
		name, scenario, want string
		spoil                func(s *compaction.Snapshot, p *compaction.Plan)
	}{
		{"drops a layer that is needed", "uniform", "may not be removed", func(s *compaction.Snapshot, p *compaction.Plan) {
			if n := len(s.Layers); n > 3 {
				p.Jobs = []compaction.Job{{Kind: compaction.Drop, Obsolete: []int{n - 1}, Rect: s.Layers[n-1].Rect(), Reason: "a fault"}}
			}
		}},
		{"forgets a retained LSN", "old-branch", "may not be removed", func(s *compaction.Snapshot, p *compaction.Plan) {
			all := *s
			all.Retain = nil
			p.Jobs = append(compaction.GC(&all).Jobs, p.Jobs...)
		}},
		{"outputs overlap", "uniform", "", func(s *compaction.Snapshot, p *compaction.Plan) {
			for i := range p.Jobs {
				j := &p.Jobs[i]
				if j.Kind == compaction.Retile {
					rect := j.Rect
					j.Cut = func() compaction.Cutter { return twice{rect} }
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := scenario.Get(c.scenario)
			require.NoError(t, err)
			cfg = cfg.Scale(256)
			s, err := catalog.New("legacy")
			require.NoError(t, err)
			_, err = sim.Run(t.Context(), cfg, broken{s, c.spoil}, sim.Observer{})
			require.ErrorContains(t, err, c.want)
			t.Log(err)
		})
	}
}

// twice is a cutter whose two outputs have half of the keys in common.
type twice struct{ rect compaction.Rect }

func (twice) Add(compaction.Entry, func(compaction.Rect)) {}

func (c twice) Finish(emit func(compaction.Rect)) {
	low, high := c.rect, c.rect
	low.Keys.End, high.Keys.Start = page.Key{F1: 1}, page.Key{F3: 5}
	emit(low)
	emit(high)
}

// TestManyUpdatesOfOneKey is Neon's test_many_updates_for_single_key, with the sizes of all layers.
func TestManyUpdatesOfOneKey(t *testing.T) {
	const target, hot = 1_000_000, 1000
	tl := newTimeline(t, target, 100_000)
	r := newUpdates()
	for range 999 {
		r.uniform(t, tl, 100, 100_000, 10)
		for range hot {
			r.put(t, tl, mock.Record{Key: 0, Size: 10})
		}
		tl.compact(t)
	}
	deltas := 0
	for _, l := range tl.Live() {
		require.Less(t, l.Size, int64(2*target), "layer %s", l.ID)
		if !l.Image {
			deltas++
		}
	}
	require.Positive(t, deltas)
	require.NoError(t, tl.CheckAll())
}

// TestSimpleUpdates is Neon's test_simple_updates: 399 rounds, flushed at 500 kB, and one compaction, of which nothing may be
// lost or overlap, and which writes each byte about twice.
func TestSimpleUpdates(t *testing.T) {
	const target = 500_000
	tl := newTimeline(t, target, 100_000)
	r := newUpdates()
	for range 399 {
		r.uniform(t, tl, 100, 100_000, 500)
	}
	require.Len(t, tl.Live(), 39)
	tl.compact(t)
	require.NoError(t, tl.CheckAll())
	require.NoError(t, tl.CheckOverlap())
	amp := float64(tl.Counts().Created) / float64(int64(tl.Last())-1000)
	require.InDelta(t, 1.96, amp, 0.05)
	for _, l := range tl.Live() {
		require.Less(t, l.Size, int64(2*target), "layer %s", l.ID)
	}
}
