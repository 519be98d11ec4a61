package timeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// GCConfig says what garbage collection keeps, and when it runs.
type GCConfig struct {
	// Horizon is how many bytes of WAL, from the end, stay readable at every LSN.
	Horizon int64
	// PITR is for how long, by the times of commits, every state stays readable; 0 is not at all for that.
	PITR time.Duration
	// Period is how often each timeline is collected; 0 leaves it to explicit calls.
	Period time.Duration
	// LeaseGrace is for how long nothing is collected once a timeline was opened: leases, which are in memory alone, can
	// be taken again meanwhile.
	LeaseGrace time.Duration
}

// GCConfig gives the store's.
func (t *Timeline) GCConfig() GCConfig { return t.env.GC }

// ErrLeaseGrace says that leases from before a restart may still be taken again.
var ErrLeaseGrace = errors.New("collection waits for leases to be renewed")

// GCRequest is an explicit call for collection.
type GCRequest struct {
	Horizon int64
	PITR    time.Duration
	// DryRun changes nothing and says what would be done.
	DryRun bool
	// Explain has the report list every layer.
	Explain bool
}

// GCReport says what a collection has done, or what it would.
type GCReport struct {
	// Before and Cutoff are the oldest LSN that can be read, but for those held, before and after.
	Before, Cutoff page.LSN
	// Limit says why the cutoff is not higher.
	Limit string
	// Held are the LSNs below the cutoff that stay readable: of leases, running work and branches.
	Held []page.LSN
	// Removed layers had RemovedBytes; Kept ones have KeptBytes.
	Removed, Kept           int
	RemovedBytes, KeptBytes int64
	// Layers are all of them, if that was asked for, in their order.
	Layers []GCLayer
}

// GCLayer says what becomes of one layer, and why.
type GCLayer struct {
	Layer   layer.Desc
	Removed bool
	Reason  string
}

// GC moves the cutoff to where the request lets it, and removes all layers that no read needs any more: no read at
// or above the cutoff, none at a leased LSN or a branch point, and none of a branch that has not covered itself what it
// would find here. Reads and snapshots that are under way keep the files that they need until they end.
func (t *Timeline) GC(ctx context.Context, req GCRequest) (GCReport, error) {
	if t.env.ReadOnly && !req.DryRun {
		return GCReport{}, fmt.Errorf("timeline %s: gc: %w", t.meta.Name, ErrReadOnly)
	}
	var report GCReport
	err := t.whileOpen(ctx, func(ctx context.Context) (err error) {
		report, err = t.gc(ctx, req)
		return err
	})
	if err != nil {
		err = fmt.Errorf("timeline %s: gc: %w", t.meta.Name, err)
	}
	return report, err
}

func (t *Timeline) gc(ctx context.Context, req GCRequest) (r GCReport, err error) {
	if left := time.Unix(0, t.kept.grace.Load()).Sub(t.env.Clock()); left > 0 && !req.DryRun {
		return r, fmt.Errorf("%w: %s are left since the store was opened", ErrLeaseGrace, left.Round(time.Second))
	}
	if err := t.checkKeepsAll(); err != nil {
		return r, err
	}
	if err := t.compact.turn.take(ctx); err != nil {
		return r, err
	}
	defer t.compact.turn.give()
	if err := t.checkKeepsAll(); err != nil { // again, now that no detachment is on its way
		return r, err
	}
	r.Before = t.begin()
	if r.Cutoff, r.Limit, err = t.newCutoff(ctx, req); err != nil {
		return r, err
	}
	if planned := t.plannedCutoff(); planned > r.Cutoff { // nothing can have been held below it since
		r.Cutoff, r.Limit = planned, "a collection that failed has let go already of what lies below"
	}
	if !req.DryRun {
		if err := t.settleSuspects(ctx); err != nil {
			return r, err
		}
		if err := t.moveCutoff(ctx, r.Cutoff); err != nil {
			return r, err
		}
	}
	return r, t.collect(ctx, req, &r)
}

// collect removes what the cutoff has made needless. The caller has the compactor's turn.
func (t *Timeline) collect(ctx context.Context, req GCRequest, r *GCReport) error {
	v, err := t.pinView()
	if err != nil {
		return err
	}
	defer v.release()
	s, descs := t.layersSnapshot(v)
	s.Cutoff = max(s.Cutoff, r.Cutoff) // it is in effect but in a dry run
	for _, p := range s.Retain {
		if p.LSN < s.Cutoff {
			r.Held = append(r.Held, p.LSN)
		}
	}
	plan := compaction.GC(s)
	gone := make([]bool, len(descs))
	for i := range plan.Jobs {
		j := &plan.Jobs[i]
		for _, n := range j.Obsolete {
			gone[n] = true
		}
		if req.DryRun {
			continue
		}
		if _, err := t.runJob(ctx, "gc", s, descs, j, nil); err != nil {
			return err
		}
	}
	r.count(descs, gone)
	if req.Explain {
		r.explain(s, descs, gone)
	}
	if !req.DryRun {
		t.env.counters.gcRuns.Add(1)
		t.env.counters.gcLayers.Add(int64(r.Removed))
		t.env.counters.gcBytes.Add(r.RemovedBytes)
	}
	return nil
}

func (r *GCReport) count(descs []layer.Desc, gone []bool) {
	for i := range descs {
		if gone[i] {
			r.Removed++
			r.RemovedBytes += descs[i].Size
		} else {
			r.Kept++
			r.KeptBytes += descs[i].Size
		}
	}
}

// explain asks the judge of removals why each layer stays.
func (r *GCReport) explain(s *compaction.Snapshot, descs []layer.Desc, gone []bool) {
	for i := range descs {
		l := GCLayer{Layer: descs[i], Removed: gone[i], Reason: "newer images hide it from every read"}
		if !gone[i] {
			l.Reason = "another image says the same"
			if descs[i].LSNs.End > s.Cutoff+1 {
				l.Reason = "it has LSNs above the cutoff"
			}
			if err := compaction.CheckRemoval(s, []int{i}, nil, nil); err != nil {
				l.Reason = err.Error()
			}
		}
		r.Layers = append(r.Layers, l)
	}
}

// newCutoff gives the highest LSN below which the request lets go, and why it is not higher. It is the end of a record and
// never below the present cutoff.
func (t *Timeline) newCutoff(ctx context.Context, req GCRequest) (page.LSN, string, error) {
	now, durable := t.begin(), t.DiskConsistentLSN()
	cutoff, limit := durable, "what is above it is not on disk yet"
	if durable == t.LastRecordLSN() {
		limit = "it is the end of the timeline"
	}
	if last := t.LastRecordLSN(); req.Horizon > 0 && int64(last-durable) < req.Horizon {
		cutoff, limit = last-min(last, page.LSN(req.Horizon)), fmt.Sprintf("the last %d bytes of WAL are kept", req.Horizon)
	}
	if req.PITR > 0 && cutoff > now {
		kept, why, err := t.keptByTime(ctx, req.PITR, now, cutoff)
		if err != nil {
			return 0, "", err
		}
		if kept < cutoff {
			cutoff, limit = kept, why
		}
	}
	if cutoff <= now {
		return now, limit, nil
	}
	span, err := t.RecordBefore(ctx, cutoff)
	return max(span.End, now), limit, err
}

// keptByTime gives the LSN from which on all is kept that is not older than pitr, and says why. It is now where the times of
// commits are not known.
func (t *Timeline) keptByTime(ctx context.Context, pitr time.Duration, now, cutoff page.LSN) (page.LSN, string, error) {
	if s := t.meta.Shard; !s.Alone() && !s.First() {
		first, ok, err := t.firstsCutoff(ctx)
		if err != nil || !ok {
			return now, fmt.Sprintf("all of the last %s is kept, and shard 0, which has the times of commits, cannot be asked", pitr), err
		}
		return max(first, now), "shard 0, which has the times of commits, keeps all from there", nil
	}
	at := t.env.Clock().Add(-pitr)
	found, err := t.lsnOfTime(ctx, at, now, cutoff)
	if err != nil {
		return 0, "", err
	}
	if found.Kind == TimeUnknown {
		return now, fmt.Sprintf("all of the last %s is kept, and no commit tells its time", pitr), nil
	}
	return found.LSN, fmt.Sprintf("all states since %s are kept", at.UTC().Format(time.RFC3339)), nil
}

// collectNow is one turn of the background.
func (t *Timeline) collectNow(ctx context.Context) {
	if !t.plans.breakers.allow(causeGC) {
		return
	}
	_, err := t.gc(ctx, GCRequest{Horizon: t.env.GC.Horizon, PITR: t.env.GC.PITR})
	if errors.Is(err, ErrLeaseGrace) || errors.Is(err, ErrKeepsAll) || errors.Is(err, ErrUnsettled) || ctx.Err() != nil {
		return
	}
	if t.plans.breakers.note(causeGC, err) {
		t.env.counters.breakerTrips.Add(1)
	}
	if err != nil {
		t.env.Logger.Error("garbage collection has failed; it is tried again", "timeline", t.meta.Name, "err", err)
	}
}

// causeGC is the breakers' name for collection.
const causeGC = "gc"

// Opening keeps layers from being removed or folded in the background until done is called: until then timelines may not
// know all their branches. It is called before any timeline is opened.
func (e *Env) Opening() (done func()) {
	c := make(chan struct{})
	e.allOpen = c
	return sync.OnceFunc(func() { close(c) })
}

// waitAllOpen waits until all branches are known.
func (e *Env) waitAllOpen(ctx context.Context) error {
	if e.allOpen == nil {
		return nil
	}
	select {
	case <-e.allOpen:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
