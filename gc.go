package strata

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
)

type (
	// GCResult says what a garbage collection has done, or what it would.
	GCResult = timeline.GCReport
	// GCLayer says what becomes of one layer, and why.
	GCLayer = timeline.GCLayer
	// GCMetrics are counters of garbage collection.
	GCMetrics = timeline.GCMetrics
	// Lease is an LSN that stays readable for a while.
	Lease = timeline.Lease
)

// GarbageCollection says how much of a timeline's history stays readable. What Horizon and what PITR ask for is kept
// both. Where the rest of it is needed by a branch, a lease or work that runs, it stays too.
type GarbageCollection struct {
	// Horizon is how many bytes of WAL, from the end, stay readable at every LSN; default 64 MiB. A negative one is
	// none: nothing is kept for its size.
	Horizon int64
	// PITR is for how long every state stays readable, by the times of commits; default 7 days. A negative one is
	// none. While it is on, a timeline of which no commit's time is known is not collected.
	PITR time.Duration
	// Period is how often each timeline is collected; default every hour, Every(0) leaves it to Timeline.GC.
	Period Period
	// LeaseGrace is for how long nothing of a timeline is collected once the store was opened; default Every(10 minutes).
	// Leases do not survive a restart: who had one takes it again meanwhile. Every(0) is for stores that have no leases.
	LeaseGrace Period
}

// Defaults of GarbageCollection. They are Neon's.
const (
	defaultGCHorizon  = 64 << 20
	defaultPITR       = 7 * 24 * time.Hour
	defaultGCPeriod   = time.Hour
	defaultLeaseGrace = 10 * time.Minute
)

// withDefaults gives a copy with every zero replaced.
func (g GarbageCollection) withDefaults() GarbageCollection {
	orDefault(&g.Horizon, defaultGCHorizon)
	orDefault(&g.PITR, defaultPITR)
	orDefault(&g.Period, Every(defaultGCPeriod))
	orDefault(&g.LeaseGrace, Every(defaultLeaseGrace))
	return g
}

// validate reports the faults of g.
func (g *GarbageCollection) validate() error {
	var errs []error
	for name, p := range map[string]Period{"Period": g.Period, "LeaseGrace": g.LeaseGrace} {
		if p.d < 0 {
			errs = append(errs, fmt.Errorf("strata.Options.GC.%s is Every(%s): want Every(0) or more", name, p.d))
		}
	}
	return errors.Join(errs...)
}

// config gives what timelines need to know. g has its defaults.
func (g *GarbageCollection) config() timeline.GCConfig {
	return timeline.GCConfig{Horizon: max(g.Horizon, 0), PITR: max(g.PITR, 0), Period: g.Period.d, LeaseGrace: g.LeaseGrace.d}
}

// GCOptions say how Timeline.GC is to go about it.
type GCOptions struct {
	// Horizon and PITR take the place of the store's (Options.GC), with the same meaning of zeros and negative ones.
	Horizon int64
	PITR    time.Duration
	// DryRun changes nothing and says what would be done.
	DryRun bool
	// Explain has the result list every layer, with the reason why it goes or stays.
	Explain bool
}

// GC moves the oldest LSN that can be read to where the options let it, durably, and removes all layers that no
// read needs any more: none from there on, none at a leased LSN or a branch point, and none of a branch that has not
// covered itself what it would find here. Reads below are refused with ErrBeforeHistory from then on. What is being
// read keeps its files to the end. Soon after the store was opened it gives ErrLeaseGrace.
func (tl *Timeline) GC(ctx context.Context, o GCOptions) (GCResult, error) {
	g := tl.t.GCConfig()
	req := timeline.GCRequest{Horizon: g.Horizon, PITR: g.PITR, DryRun: o.DryRun, Explain: o.Explain}
	if o.Horizon != 0 {
		req.Horizon = max(o.Horizon, 0)
	}
	if o.PITR != 0 {
		req.PITR = max(o.PITR, 0)
	}
	return tl.t.GC(ctx, req)
}

// Lease keeps the state that lsn means readable until length from now, whatever is collected, and gives the LSN to read
// at. Leasing again extends it. What has been collected cannot be leased, nor what is about to be. Leases do not
// survive the end of the process; see GarbageCollection.LeaseGrace.
func (tl *Timeline) Lease(ctx context.Context, lsn page.LSN, length time.Duration) (Lease, error) {
	return tl.t.Lease(ctx, lsn, length)
}
