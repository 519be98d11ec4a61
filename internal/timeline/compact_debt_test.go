package timeline

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/partitioned"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// tryPut is a put that does not wait.
func tryPut(tl *Timeline) error {
	var b page.Batch
	b.PutImage(blockKey(0), tl.LastRecordLSN()+8, []byte("page"))
	return tl.TryPut(context.Background(), &b)
}

// TestIngestStopsAtTheBound: each flush since the last plan counts, and at the bound ingest waits for compaction; for how long is a metric.
func TestIngestStopsAtTheBound(t *testing.T) {
	const limit = 3
	clock := newHandClock()
	var tl *Timeline
	e := readEnv(t, virtualfile.NewMem(), "store", func(c *Config) {
		c.Clock = clock.Now
		c.Compaction.Period = time.Hour
		c.Compaction.Strategy = &planner{func(s *compaction.Snapshot) compaction.Plan {
			p := compaction.Plan{Jobs: retileJob(s, 2), Debt: compaction.Debt{Limit: limit, Free: limit - 1}}
			for i := range s.Layers {
				if s.Layers[i].L0() {
					p.Debt.Height++
				}
			}
			return p
		}}
		c.Events.StallBegin = func(StallInfo) {
			clock.pass(3 * time.Second)
			tl.compact.turn.give() // now it can be compacted
		}
		c.Events.StallEnd = func(i StallInfo) {
			if i.Duration != 3*time.Second {
				t.Error("it was held back for", i.Duration)
			}
		}
	})
	tl = newTestTimeline(t, e, "store", "main", readFirst, nil)
	require.Equal(t, never, tl.compactNow(t.Context()), "a plan")
	require.NoError(t, tl.compact.turn.take(t.Context())) // nothing is compacted meanwhile
	for range limit {
		require.NoError(t, tryPut(tl))
		require.NoError(t, tl.Flush(t.Context()))
	}
	require.ErrorIs(t, tryPut(tl), ErrBackpressure)
	require.Zero(t, e.Metrics().PutWaitNanos)
	require.NoError(t, putOne(tl, blockKey(0), []byte("page")))
	require.Zero(t, tl.view.Load().layers.L0().Height())
	m := e.Metrics()
	require.EqualValues(t, 1, m.PutWaits)
	require.EqualValues(t, 3*time.Second, m.PutWaitNanos)
	require.NoError(t, tryPut(tl))
}

// planner is a strategy of one function.
type planner struct {
	plan func(s *compaction.Snapshot) compaction.Plan
}

func (*planner) Name() string                                      { return "planning" }
func (p *planner) Plan(s *compaction.Snapshot) (q compaction.Plan) { return p.plan(s) }

// TestDebtThatCannotBePaid: at the bound, and with compaction that fails, ingest is refused with the reason, instead of waiting for
// ever; with compaction that has nothing to do, it goes on. A change of the strategy forgets what was owed to the old one.
func TestDebtThatCannotBePaid(t *testing.T) {
	var fails atomic.Bool
	fails.Store(true)
	strategy := &planner{func(s *compaction.Snapshot) compaction.Plan {
		p := compaction.Plan{Debt: compaction.Debt{Height: 10, Limit: 10, Bytes: 7}}
		if fails.Load() {
			p.Jobs = []compaction.Job{imageJob(s.DiskConsistentLSN+1, page.FullRange)} // not durable
		}
		return p
	}}
	e := readEnv(t, virtualfile.NewMem(), "store", func(c *Config) { c.Compaction.Strategy, c.Compaction.Period = strategy, time.Hour })
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	tl.compactNow(t.Context())
	m := e.Metrics().Compaction
	require.Equal(t, []int64{10, 10, 7}, []int64{m.DebtHeight, m.DebtLimit, m.DebtBytes})
	err := putOne(tl, blockKey(0), []byte("page"))
	require.ErrorContains(t, err, "nothing is taken in")
	require.ErrorContains(t, err, "up to which all is durable", "the reason")
	require.ErrorIs(t, tryPut(tl), ErrBackpressure)

	require.NoError(t, tl.compact.turn.take(t.Context()))
	tl.SetStrategy(&planner{func(*compaction.Snapshot) (p compaction.Plan) { return p }})
	require.NoError(t, tryPut(tl))
	tl.compact.turn.give()

	fails.Store(false)
	tl.SetStrategy(nil)
	require.Equal(t, never, tl.compactNow(t.Context()))
	require.NoError(t, putOne(tl, blockKey(0), []byte("page")), "nothing could be done about the debt")

	// Who asks for what is not due, or for another strategy's, leaves the debt as the timeline's own sees it.
	view, err := tl.pinView()
	require.NoError(t, err)
	defer view.release()
	before := tl.plans.debt.Load().Debt
	p := &planned{Plan: compaction.Plan{Debt: compaction.Debt{Height: 1, Limit: 1}}, view: view}
	for _, req := range []CompactRequest{{Strategy: strategy}, {Thorough: true}} {
		(&loop{t: tl, req: req}).owe(p, true)
		require.Equal(t, before, tl.plans.debt.Load().Debt)
	}
}

// TestBoundsHoldFromTheFirstPlanOn: how near the bound a timeline is that has just been opened nobody knows, so ingest waits for a plan.
func TestBoundsHoldFromTheFirstPlanOn(t *testing.T) {
	e := readEnv(t, virtualfile.NewMem(), "store", func(c *Config) { c.Compaction.Strategy, c.Compaction.Period = partitioned.New(), time.Hour })
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	require.EqualValues(t, 1, tl.debt())
	require.NoError(t, putOne(tl, blockKey(0), []byte("page")), "which it has made")
	require.Less(t, tl.debt(), 1.0)
	require.Positive(t, e.Metrics().Compaction.Plans)
}

// TestJobsSideBySide: images that share no key are handed out together, so many that all lanes have work; other jobs one by one. What was
// done is not handed out again in the same run.
func TestJobsSideBySide(t *testing.T) {
	e := readEnv(t, virtualfile.NewMem(), "store", func(c *Config) { c.Compaction.Lanes = 2 })
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	image := func(from, to int) compaction.Job {
		return imageJob(8, page.Range{Start: blockKey(from), End: blockKey(to)})
	}
	retile := compaction.Job{Kind: compaction.Retile, Rect: compaction.Rect{Keys: page.FullRange, LSNs: page.LSNRange{Start: 1, End: 2}}}
	var many []compaction.Job
	for i := range 3 * maxTogether {
		many = append(many, image(i, i+1))
	}
	for _, c := range []struct {
		jobs, done []compaction.Job
		want       []int
	}{
		{},
		{jobs: []compaction.Job{image(0, 1), image(1, 2), image(5, 6)}, want: []int{0, 1, 2}},
		{jobs: []compaction.Job{image(0, 2), image(2, 4), image(3, 6), image(6, 7)}, want: []int{0, 1}},
		{jobs: []compaction.Job{image(0, 2), retile, image(3, 6)}, want: []int{0}},
		{jobs: []compaction.Job{retile, image(3, 6)}, want: []int{0}},
		{jobs: []compaction.Job{retile, image(3, 6), image(6, 7)}, done: []compaction.Job{retile, image(6, 7)}, want: []int{1}},
		{jobs: []compaction.Job{retile}, done: []compaction.Job{retile}},
		{jobs: many, want: []int{0, 1, 2, 3, 4, 5, 6, 7}},
	} {
		l := &loop{t: tl, done: map[jobName]bool{}}
		for i := range c.done {
			l.done[nameOf(&c.done[i])] = true
		}
		p := &planned{Plan: compaction.Plan{Jobs: c.jobs}}
		var want []*compaction.Job
		for _, i := range c.want {
			want = append(want, &c.jobs[i])
		}
		require.Equal(t, want, l.choose(p))
	}
}

// TestStrategiesThatNeverEnd: a strategy that wants again and again what it was given is not asked for ever.
func TestStrategiesThatNeverEnd(t *testing.T) {
	e := readEnv(t, virtualfile.NewMem(), "store", nil)
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	putLayer(t, tl, 2, true)
	plans := 0
	r, err := tl.Compact(t.Context(), CompactRequest{Strategy: &planner{func(*compaction.Snapshot) (p compaction.Plan) {
		if plans++; plans > 10 {
			panic("it goes on and on")
		}
		p.Jobs = []compaction.Job{imageJob(tl.LastRecordLSN(), page.Range{Start: blockKey(100), End: blockKey(200)})} // of nothing
		return p
	}}})
	require.NoError(t, err)
	require.Equal(t, 1, r.Jobs)
	require.Equal(t, 2, plans)
}
