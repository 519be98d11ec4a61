package strata

import (
	"context"

	"github.com/stratapg/strata/internal/consumption"
)

type (
	// ConsumptionMetric is one number of what a timeline has used, by the names and rules of Neon's consumption metrics.
	ConsumptionMetric = consumption.Metric
	// ConsumptionTold is what was told of a timeline last. Whoever collects keeps it, also across restarts.
	ConsumptionTold = consumption.Told
)

// Consumption gives the numbers to tell now, and what to remember for the next time. What is not known is left out: the
// history that is kept for its time, where no transaction tells the time, and the logical size before LogicalSize was asked for.
func (tl *Timeline) Consumption(ctx context.Context, before ConsumptionTold) ([]ConsumptionMetric, ConsumptionTold, error) {
	s, err := tl.t.Consumption(ctx)
	if err != nil {
		return nil, before, err
	}
	out, told := consumption.Metrics(s, before)
	return out, told, nil
}
