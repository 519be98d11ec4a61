package simulator_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/compaction/tiered"
	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/scenario"
	"github.com/stratapg/strata/simulator/stats"
)

// measured runs a small scenario and measures what planning allocates.
func measured(t *testing.T, s compaction.Strategy) (*stats.Result, error) {
	c, err := scenario.Get("hot-cold")
	require.NoError(t, err)
	c = c.Scale(2048)
	c.Reads, c.Checks.Off = sim.Reads{}, true
	var plans sim.PlanMeter
	r, err := sim.Run(t.Context(), c, s, sim.Observer{Plan: plans.Watch})
	if err == nil {
		err = plans.Measure(s, r)
	}
	return r, err
}

// TestPlanMemory: what plans hold and what making them allocates is told of each strategy, and within what a planner may.
func TestPlanMemory(t *testing.T) {
	for _, name := range catalog.Names() {
		s, err := catalog.New(name)
		require.NoError(t, err)
		r, err := measured(t, s)
		require.NoError(t, err)
		require.Positive(t, r.Plan.Bytes, name)
		require.Greater(t, r.Plan.HeapBytes, r.Plan.Bytes/2, name)
	}
}

// hoard makes plans in which each layer stands again and again.
func hoard(s *compaction.Snapshot, p *compaction.Plan) {
	var all []int
	for i := range s.Layers {
		all = append(all, i)
	}
	for range 1000 * len(s.Layers) {
		p.Jobs = append(p.Jobs, compaction.Job{Kind: compaction.Drop, Inputs: all, Reason: "a fault"})
	}
}

var wasted []byte

// waste needs, for few layers, memory for thousands.
func waste(*compaction.Snapshot, *compaction.Plan) { wasted = make([]byte, 16<<20) }

// TestWastefulPlanners: a planner whose plans hold too much ends its run, and one that allocates too much fails it.
func TestWastefulPlanners(t *testing.T) {
	_, err := measured(t, broken{tiered.New(), hoard})
	require.ErrorContains(t, err, "with all that its planner was shown it may hold")
	require.ErrorContains(t, err, "seed 0")
	r, err := measured(t, broken{tiered.New(), waste})
	require.ErrorContains(t, err, "it may allocate")
	require.Equal(t, err.Error(), r.Error)
	require.Greater(t, r.Plan.HeapBytes, int64(len(wasted)))
}
