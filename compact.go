package strata

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/internal/timeline"
)

type (
	// CompactionInfo describes a job of compaction.
	CompactionInfo = timeline.CompactionInfo
	// CompactionMetrics are counters of compaction.
	CompactionMetrics = timeline.CompactionMetrics
)

// Compaction says how the layers of a store's timelines are made over in the background.
type Compaction struct {
	// Strategy names what decides; default: the first of CompactionStrategies. A timeline may have another
	// (Timeline.SetCompactionStrategy). Nothing on disk depends on it, so it may change with every opening.
	Strategy string
	// Knobs are the strategy's. A CheckpointDistance of 0 is that of Options.
	Knobs compaction.Options
	// Period is how often a timeline is looked at beside each time that something was flushed; default every 20
	// seconds. Every(0) leaves compaction to Timeline.Compact: then nothing bounds what reads have to visit.
	Period Period
	// Jobs is how many run at once, of all timelines; default 2, at most 64. Each may take a part of the quarter of
	// Options.Memory that is for compaction, and about one processor.
	Jobs int
	// Bandwidth is how many bytes a second compaction may read and write, at least 1 MiB; default: no limit. Below it,
	// and without it, compaction goes slower while it makes reads much slower than they are without.
	Bandwidth int64
}

// Defaults and bounds of Compaction.
const (
	defaultCompactionPeriod = 20 * time.Second
	maxCompactionJobs       = 64
	minCompactionBandwidth  = 1 << 20
)

// CompactionStrategies lists the names of the strategies, the default first.
func CompactionStrategies() []string { return catalog.Names() }

// validate reports the faults of c.
func (c *Compaction) validate() error {
	var errs []error
	if _, err := catalog.New(c.Strategy); err != nil {
		errs = append(errs, fmt.Errorf("strata.Options.Compaction.Strategy: %w", err))
	}
	if err := c.Knobs.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("strata.Options.Compaction.Knobs: %w", err))
	}
	if c.Period.d < 0 {
		errs = append(errs, fmt.Errorf("strata.Options.Compaction.Period is Every(%s): want Every(0) for never, or more", c.Period.d))
	}
	if c.Jobs < 0 || c.Jobs > maxCompactionJobs {
		errs = append(errs, fmt.Errorf("strata.Options.Compaction.Jobs is %d: want 1 to %d, or 0 for the default", c.Jobs, maxCompactionJobs))
	}
	if c.Bandwidth != 0 && c.Bandwidth < minCompactionBandwidth {
		errs = append(errs, fmt.Errorf("strata.Options.Compaction.Bandwidth is %d: want at least %d, or 0 for no limit", c.Bandwidth, minCompactionBandwidth))
	}
	return errors.Join(errs...)
}

// config gives what the timelines need to know. c has passed validate.
func (c *Compaction) config() (timeline.CompactionConfig, error) {
	s, err := catalog.New(c.Strategy)
	return timeline.CompactionConfig{Strategy: s, Options: c.Knobs, Period: c.Period.d, Lanes: c.Jobs, Bandwidth: c.Bandwidth}, err
}

// CompactOptions say how Timeline.Compact is to go about it.
type CompactOptions struct {
	// Strategy takes the place of the timeline's for this call.
	Strategy string
	// DueOnly does only what the strategy's thresholds ask for, as in the background. Otherwise they are as low
	// as they can be: the timeline comes out as compact as the strategy can make it.
	DueOnly bool
	// Progress, if set, is called as jobs go on, from many goroutines.
	Progress func(CompactionInfo)
}

// CompactResult is what compaction did, and how the timeline stands now.
type CompactResult = timeline.CompactReport

// CompactionPlan is what Timeline.Compact would begin with.
type CompactionPlan struct {
	// Snapshot is what it was planned from. Jobs name its layers by index.
	Snapshot *compaction.Snapshot
	Jobs     []compaction.Job
	// Debt is what ingest is held back by, with or without CompactOptions.DueOnly.
	Debt compaction.Debt
}

// Compact makes the timeline's layers over until the strategy has nothing left to do. What was done before an
// error, that of the context too, stays done. Reads and writes go on meanwhile.
func (tl *Timeline) Compact(ctx context.Context, o CompactOptions) (CompactResult, error) {
	r, err := o.request()
	if err != nil {
		return CompactResult{}, err
	}
	return tl.t.Compact(ctx, r)
}

// PlanCompaction gives what Compact would begin with: later plans depend on what the first jobs come to.
// It changes nothing, and works in a store that is open read-only.
func (tl *Timeline) PlanCompaction(ctx context.Context, o CompactOptions) (CompactionPlan, error) {
	r, err := o.request()
	if err != nil {
		return CompactionPlan{}, err
	}
	s, p, err := tl.t.PlanCompaction(ctx, r)
	return CompactionPlan{s, p.Jobs, p.Debt}, err
}

// SetCompactionStrategy chooses how the timeline is compacted from now on, until the store is closed; the empty
// name goes back to Options.Compaction.Strategy.
func (tl *Timeline) SetCompactionStrategy(name string) error {
	if name == "" {
		tl.t.SetStrategy(nil)
		return nil
	}
	s, err := catalog.New(name)
	if err == nil {
		tl.t.SetStrategy(s)
	}
	return err
}

func (o *CompactOptions) request() (timeline.CompactRequest, error) {
	r := timeline.CompactRequest{Progress: o.Progress, Thorough: !o.DueOnly}
	if o.Strategy == "" {
		return r, nil
	}
	var err error
	r.Strategy, err = catalog.New(o.Strategy)
	return r, err
}
