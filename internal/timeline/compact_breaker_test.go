package timeline

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// TestBreaker: what has failed three times rests, is then tried once, and rests twice as long, up to an hour, if that fails; one success
// is enough. Causes have nothing to do with each other.
func TestBreaker(t *testing.T) {
	clock, broken := newHandClock(), errors.New("broken")
	b := newBreakers(clock.Now)
	require.True(t, b.allow("a"))
	for range breakerFailures - 1 {
		require.False(t, b.note("a", broken))
		require.True(t, b.allow("a"), "it may have been bad luck")
		again, err := b.failing("a", "b")
		require.Equal(t, broken, err)
		require.Equal(t, compactRetry, again)
	}
	require.Empty(t, b.open())
	for rest := breakerRest; rest < 20*breakerLongest; rest *= 2 {
		require.True(t, b.note("a", broken), "it is opened")
		require.Equal(t, map[string]error{"a": broken}, b.open())
		rest := min(rest, breakerLongest)
		again, err := b.failing("b", "a")
		require.Equal(t, broken, err)
		require.Equal(t, rest, again)
		require.True(t, b.allow("b"))
		clock.pass(rest - 1)
		require.False(t, b.allow("a"))
		clock.pass(1)
		require.True(t, b.allow("a"), "after %s", rest)
	}
	require.False(t, b.note("b", broken))
	other := errors.New("other")
	require.False(t, b.note("b", other))
	again, err := b.failing("a", "b")
	require.Equal(t, compactRetry, again, "the first that is worth another try")
	require.Contains(t, []error{broken, other}, err)
	require.False(t, b.note("a", nil))
	require.False(t, b.note("b", nil))
	require.Empty(t, b.open())
	_, err = b.failing("a", "b")
	require.NoError(t, err)
	require.False(t, b.note("a", broken), "it begins anew")
	require.True(t, b.allow("a"))
}

// TestBreakerOfAFullDisk: somebody makes room some day, so that the rests do not grow; and of several causes that one counts which is worth
// another try first, in whatever order they are named.
func TestBreakerOfAFullDisk(t *testing.T) {
	clock := newHandClock()
	b := newBreakers(clock.Now)
	for n := range 3 * breakerDoublings {
		require.Equal(t, n+1 >= breakerFailures, b.note("full", fmt.Errorf("write: %w", syscall.ENOSPC)))
	}
	again, err := b.failing("full")
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, breakerRest, again)
	other := errors.New("other")
	require.False(t, b.note("other", other))
	for _, causes := range [][]string{{"full", "other"}, {"other", "full"}} {
		again, err = b.failing(causes...)
		require.Equal(t, other, err, "%v", causes)
		require.Equal(t, compactRetry, again, "%v", causes)
	}
}

// wanting is a strategy that wants what it is told to.
type wanting struct {
	jobs func(s *compaction.Snapshot) []compaction.Job
	debt compaction.Debt
}

func (*wanting) Name() string { return "wanting" }

func (w *wanting) Plan(s *compaction.Snapshot) compaction.Plan {
	return compaction.Plan{Jobs: w.jobs(s), Debt: w.debt}
}

// imageJob is an image of some keys.
func imageJob(lsn page.LSN, keys page.Range) compaction.Job {
	return compaction.Job{Kind: compaction.Image, Priority: compaction.PriorityImage, Reason: "it is a test",
		Rect: compaction.Rect{Keys: keys, LSNs: page.LSNRange{Start: lsn, End: lsn + 1}}}
}

// retileJob makes all L0s into deltas of so many keys each.
func retileJob(s *compaction.Snapshot, keys int) (jobs []compaction.Job) {
	j := compaction.Job{Kind: compaction.Retile, Reason: "it is a test", Rect: compaction.Rect{Keys: page.FullRange, LSNs: page.LSNRange{Start: page.MaxLSN}}}
	for i := range s.Layers {
		if l := &s.Layers[i]; l.L0() {
			j.Inputs = append(j.Inputs, i)
			j.Rect.LSNs.Start, j.Rect.LSNs.End = min(j.Rect.LSNs.Start, l.LSNs.Start), max(j.Rect.LSNs.End, l.LSNs.End)
		}
	}
	if len(j.Inputs) == 0 {
		return nil
	}
	j.Obsolete = j.Inputs
	j.Cut = func() compaction.Cutter { return &keysCut{n: keys, lsns: j.Rect.LSNs} }
	return []compaction.Job{j}
}

// keysCut cuts behind every n keys.
type keysCut struct {
	n, have int
	lsns    page.LSNRange
	keys    page.Range
}

func (c *keysCut) Add(e compaction.Entry, emit func(compaction.Rect)) {
	if c.have > 0 && c.keys.Contains(e.Key) {
		return
	}
	if c.have == c.n {
		c.Finish(emit)
	}
	if c.have == 0 {
		c.keys.Start = e.Key
	}
	c.keys.End = e.Key.Next()
	c.have++
}

func (c *keysCut) Finish(emit func(compaction.Rect)) {
	if c.have > 0 {
		emit(compaction.Rect{Keys: c.keys, LSNs: c.lsns})
	}
	c.have = 0
}

// TestCompactionRestsWhereItFails: jobs of one kind that fail on one timeline keep neither those of other kinds from being done
// nor another timeline's; the metrics say so, and once what was wrong is mended the next try closes the breaker.
func TestCompactionRestsWhereItFails(t *testing.T) {
	clock := newHandClock()
	tried := map[page.TimelineID]map[compaction.Kind]int{}
	e := readEnv(t, virtualfile.NewMem(), "store", func(c *Config) {
		c.Clock = clock.Now
		c.Events.CompactionBegin = func(i CompactionInfo) {
			if tried[i.Timeline] == nil {
				tried[i.Timeline] = map[compaction.Kind]int{}
			}
			tried[i.Timeline][i.Kind]++
		}
	})
	bad, good := newTestTimeline(t, e, "store", "bad", readFirst, nil), newTestTimeline(t, e, "store", "good", readFirst, nil)
	ctx := context.Background()
	mended := false
	for _, tl := range []*Timeline{bad, good} {
		putLayer(t, tl, 3, true)
		tl.SetStrategy(&wanting{jobs: func(s *compaction.Snapshot) []compaction.Job {
			at := s.DiskConsistentLSN
			if tl == bad && !mended {
				at++ // not durable: the job is refused
			}
			all := []compaction.Job{imageJob(at, page.FullRange)}
			for i := range s.Layers {
				if s.Layers[i].Image && s.Layers[i].LSNs.Start == at {
					all = nil
				}
			}
			return append(all, retileJob(s, 100)...)
		}})
	}
	metrics := func() (open, trips, errs int64) {
		m := e.Metrics().Compaction
		return m.BreakersOpen, m.BreakerTrips, m.Errors
	}
	tries := func(tl *Timeline, k compaction.Kind) int { return tried[tl.ID()][k] }
	for range breakerFailures - 1 {
		require.Equal(t, compactRetry, bad.compactNow(ctx))
		open, trips, _ := metrics()
		require.Zero(t, open+trips)
	}
	require.Equal(t, breakerRest, bad.compactNow(ctx))
	open, trips, errs := metrics()
	require.Equal(t, []int64{1, 1, breakerFailures}, []int64{open, trips, errs})
	require.Equal(t, breakerFailures, tries(bad, compaction.Image))
	require.Zero(t, tries(bad, compaction.Retile))

	require.Equal(t, breakerRest, bad.compactNow(ctx))
	require.Equal(t, breakerFailures, tries(bad, compaction.Image), "images rest")
	require.Equal(t, 1, tries(bad, compaction.Retile), "and nothing else")
	require.Zero(t, bad.view.Load().layers.L0().Height())
	require.Equal(t, never, good.compactNow(ctx))
	require.Equal(t, 1, tries(good, compaction.Image))
	require.Equal(t, 1, tries(good, compaction.Retile))

	clock.pass(breakerRest)
	require.Equal(t, 2*breakerRest, bad.compactNow(ctx))
	require.Equal(t, breakerFailures+1, tries(bad, compaction.Image), "one more, half-open")
	_, err := bad.Compact(ctx, CompactRequest{})
	require.ErrorContains(t, err, "durable", "who asks for it is told, whatever rests")
	mended = true
	clock.pass(4 * breakerRest)
	require.Equal(t, never, bad.compactNow(ctx))
	open, trips, _ = metrics()
	require.Equal(t, []int64{0, 3}, []int64{open, trips})
	require.Equal(t, breakerFailures+3, tries(bad, compaction.Image))

	// What keeps a plan from being made is a cause of its own.
	bad.SetStrategy(nil)
	for range breakerFailures + 2 {
		bad.compactNow(ctx)
	}
	_, _, errs = metrics()
	require.EqualValues(t, breakerFailures+2+breakerFailures, errs)
	require.Contains(t, bad.plans.breakers.open(), causePlan)
	bad.SetStrategy(&wanting{jobs: func(*compaction.Snapshot) []compaction.Job { return nil }})
	require.Equal(t, never, bad.compactNow(ctx))
	require.Empty(t, bad.plans.breakers.open())
}
