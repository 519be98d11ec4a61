package simulator_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/partitioned"
	"github.com/stratapg/strata/compaction/tiered"
	"github.com/stratapg/strata/internal/testkit"
	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/scenario"
	"github.com/stratapg/strata/simulator/stats"
)

// indebted says that ingest has to wait, and does nothing about it.
type indebted struct {
	compaction.Strategy
	debt compaction.Debt
}

func (s indebted) Plan(*compaction.Snapshot) compaction.Plan { return compaction.Plan{Debt: s.debt} }

// TestEndless: whatever is out of proportion, a run comes to its end, or says why it would not.
func TestEndless(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	for _, c := range []struct {
		name   string
		debt   *compaction.Debt
		change func(*sim.Config)
		want   string // in the error; empty for none
	}{
		{"debt and no job", &compaction.Debt{Height: 9, Limit: 9}, nil, ""}, // nobody waits for what nobody does
		{"records and no job", &compaction.Debt{Records: 99, RecordsLimit: 9, FlushRecords: 3}, nil, ""},
		{"nearly no pace", &compaction.Debt{Height: 999, Limit: 1000, Free: 1}, nil, ""},
		{"less than a byte a second", &compaction.Debt{Height: 999, Limit: 1000, Free: 1}, func(c *sim.Config) { c.Phases[0].Rate = 10 }, ""},
		{"less than a record a day", nil, func(c *sim.Config) { c.Phases[0].Rate = 1; c.GCPeriod = 0 }, ""},
		{"nearly no bandwidth", nil, func(c *sim.Config) { c.Bandwidth = 1 }, ""},
		{"endless garbage collection", nil, func(c *sim.Config) {
			c.GCPeriod, c.Phases[0].Records, c.Phases[0].Idle = 1, 1, sim.Duration(time.Hour)
		}, "the run stands still"},
		{"no time at all", nil, func(c *sim.Config) { c.Phases[0].Rate = 1 << 40 }, ""},
		{"a century", nil, func(c *sim.Config) { c.GCPeriod, c.Phases[0].Idle = 0, sim.Duration(200*365*24*time.Hour) }, "the run stands still"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := scenario.Get("uniform")
			require.NoError(t, err)
			cfg = cfg.Scale(4096)
			cfg.GCPeriod = sim.Duration(10 * time.Minute)
			cfg.Reads, cfg.Checks.Off = sim.Reads{}, true
			if c.change != nil {
				c.change(&cfg)
			}
			var s compaction.Strategy = tiered.New()
			if c.debt != nil {
				s = indebted{s, *c.debt}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			r, err := sim.Run(ctx, cfg, s, sim.Observer{})
			if c.want != "" {
				require.ErrorContains(t, err, c.want)
				require.ErrorContains(t, err, "seed 0")
				return
			}
			require.NoError(t, err)
			require.Equal(t, cfg.Records(), r.Records)
		})
	}
}

// watched counts what a run says that planning has cost.
type watched struct {
	compaction.Flusher
	cost   *stats.PlanCost
	debt   *int64
	height *int
}

func (w watched) Plan(s *compaction.Snapshot) compaction.Plan {
	p := w.Flusher.Plan(s)
	w.cost.Plans++
	w.cost.MaxLayers = max(w.cost.MaxLayers, len(s.Layers))
	*w.debt, *w.height = max(*w.debt, p.Debt.Bytes), max(*w.height, p.Debt.Height)
	return p
}

// TestPlanCost: a result says how often was planned, over how many layers at most, and the worst debt that plans told of.
func TestPlanCost(t *testing.T) {
	cfg, err := scenario.Get("uniform")
	require.NoError(t, err)
	cfg = cfg.Scale(4096)
	cfg.Reads, cfg.Checks.Off = sim.Reads{}, true
	var cost stats.PlanCost
	var debt int64
	var height int
	r, err := sim.Run(t.Context(), cfg, watched{partitioned.New(), &cost, &debt, &height}, sim.Observer{})
	require.NoError(t, err)
	require.Positive(t, r.Plan.Time)
	require.Positive(t, r.Plan.Bytes)
	cost.Time, cost.Bytes = r.Plan.Time, r.Plan.Bytes
	require.Equal(t, cost, r.Plan)
	require.Equal(t, debt, r.MaxDebtBytes)
	require.Equal(t, height, r.MaxHeight)
	require.Greater(t, height, 10)
	highest := 0
	for _, p := range r.Series {
		highest = max(highest, p.Height)
	}
	require.LessOrEqual(t, highest, height)
	require.Positive(t, highest)
}
