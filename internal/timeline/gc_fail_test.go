package timeline

import (
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
)

// noManifest has no edit of the manifest become durable, and counts the tries; nil mends it.
func (p *published) noManifest(tries *atomic.Int64) {
	if tries == nil {
		p.sync.begin(nil)
		return
	}
	p.sync.begin(func(name string) bool {
		is := strings.Contains(filepath.Base(name), manifest.FileName)
		if is {
			tries.Add(1)
		}
		return is
	})
}

// TestCollectionRestsWhereItFails: in the background a collection that fails is tried again, and rests after some failures in a row;
// waiting for leases is no failure.
func TestCollectionRestsWhereItFails(t *testing.T) {
	clock := newHandClock()
	p := newPublished(t, func(c *Config) { c.Clock = clock.Now })
	makeImage(t, p.tl, p.tl.LastRecordLSN(), page.FullRange)
	breakers := func() []int64 {
		m := p.tl.env.Metrics().Compaction
		return []int64{m.BreakersOpen, m.BreakerTrips}
	}
	p.tl.kept.grace.Store(clock.Now().Add(time.Minute).UnixNano())
	for range breakerFailures {
		p.tl.collectNow(t.Context())
	}
	_, err := p.tl.plans.breakers.failing(causeGC)
	require.NoError(t, err)
	clock.pass(time.Minute)

	var tries atomic.Int64
	tried := func() bool {
		before := tries.Load()
		p.tl.collectNow(t.Context())
		return tries.Load() > before
	}
	p.noManifest(&tries)
	for range breakerFailures {
		require.Equal(t, []int64{0, 0}, breakers())
		require.True(t, tried())
	}
	require.Equal(t, []int64{1, 1}, breakers())
	require.ErrorContains(t, p.tl.plans.breakers.open()[causeGC], syscall.ENOSPC.Error())
	require.False(t, tried(), "it rests")
	clock.pass(breakerRest)
	require.True(t, tried(), "half-open")
	require.False(t, tried())
	require.Equal(t, []int64{1, 2}, breakers())
	p.noManifest(nil)
	clock.pass(breakerLongest)
	p.tl.collectNow(t.Context())
	require.Equal(t, []int64{0, 2}, breakers())
	require.EqualValues(t, 4, p.tl.env.Metrics().GC.Layers)
}

// TestReportsAfterAFailedCollection: what a collection that failed had planned to let go of cannot be held any more, so the next one moves
// the cutoff there, even if less was asked of it, and says so; a dry run too.
func TestReportsAfterAFailedCollection(t *testing.T) {
	p := newPublished(t, nil)
	last := p.tl.LastRecordLSN()
	p.noManifest(&atomic.Int64{})
	_, err := p.tl.GC(t.Context(), GCRequest{Horizon: 8})
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Less(t, p.tl.Cutoff(), last-8)
	p.noManifest(nil)
	before := p.tl.Cutoff()
	for _, dry := range []bool{true, false} {
		r, err := p.tl.GC(t.Context(), GCRequest{Horizon: 24, DryRun: dry})
		require.NoError(t, err)
		require.Equal(t, []page.LSN{before, last - 8}, []page.LSN{r.Before, r.Cutoff})
		require.Contains(t, r.Limit, "a collection that failed")
	}
	require.Equal(t, last-8, p.tl.Cutoff())
	r, err := p.tl.GC(t.Context(), GCRequest{Horizon: 24})
	require.NoError(t, err)
	require.Equal(t, []page.LSN{last - 8, last - 8}, []page.LSN{r.Before, r.Cutoff})
	require.NotContains(t, r.Limit, "failed")
}

// TestKeepingAllIsNoFailure: where nothing may be collected the background does not count that as a failure, which would have it rest.
func TestKeepingAllIsNoFailure(t *testing.T) {
	p := newPublished(t, nil)
	p.tl.KeepAll()
	for range breakerFailures {
		p.tl.collectNow(t.Context())
	}
	_, err := p.tl.plans.breakers.failing(causeGC)
	require.NoError(t, err)
	_, err = p.tl.GC(t.Context(), GCRequest{})
	require.ErrorIs(t, err, ErrKeepsAll)
}
