package timeline

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
)

// kept says which LSNs of a timeline's own history can be read: all from the cutoff on, and below it those
// that somebody holds.
//
// The cutoff moves in two steps. From the first on nothing new may be held below it. The second, once it is
// durable, has reads below it refused. Only then is anything removed on the strength of it.
type kept struct {
	cutoff atomic.Uint64 // in effect
	// grace is until when, in nanoseconds since 1970, nothing is collected; 0 for a timeline made since the store was
	// opened.
	grace atomic.Int64
	// all says that nothing may be collected.
	all atomic.Bool
	// settling says likewise, until the timeline's detachment from an ancestor has ended.
	settling atomic.Bool
	mu       struct {
		sync.Mutex
		planned  page.LSN // at least the cutoff
		held     []*held  // ascending
		children []*Timeline
		absent   map[page.TimelineID]page.LSN // branches that are not here
	}
}

func (k *kept) start(cutoff page.LSN) {
	k.cutoff.Store(uint64(cutoff))
	k.mu.planned = cutoff
}

// ownCutoff is the oldest LSN that reads may ask the timeline's own layers for, unless it is held; 0 if nothing
// was ever collected.
func (t *Timeline) ownCutoff() page.LSN { return page.LSN(t.kept.cutoff.Load()) }

// Cutoff is the oldest LSN of the timeline's own history from which on all can be read.
func (t *Timeline) Cutoff() page.LSN { return t.begin() }

// begin is the first LSN of the timeline's own history that can be read.
func (t *Timeline) begin() page.LSN { return max(t.ownCutoff(), t.from().initial) }

// home gives the timeline of the ancestry whose history lsn belongs to.
func (t *Timeline) home(lsn page.LSN) *Timeline {
	for d := t.from(); d.ancestor != nil && lsn < d.initial; d = t.from() {
		t = d.ancestor
	}
	return t
}

// oldestBelow gives the oldest LSN that can be read in the timeline of the ancestry that lsn belongs to.
func (t *Timeline) oldestBelow(lsn page.LSN) page.LSN { return t.home(lsn).begin() }

// OldestLSN is the first LSN from which on all can be read, in the timeline or its ancestors.
func (t *Timeline) OldestLSN() page.LSN {
	for d := t.from(); d.ancestor != nil && t.ownCutoff() <= d.initial; d = t.from() {
		a := d.ancestor.home(d.lsn)
		if a.begin() > d.lsn {
			break // what lies below is a branch point that was held
		}
		t = a
	}
	return t.begin()
}

// checkKept says why lsn cannot be read any more. Who reads calls it once the views are pinned: what is removed
// after the cutoff moved is then in them still, or the cutoff is seen here.
func (t *Timeline) checkKept(lsn page.LSN) error {
	home := t.home(lsn)
	oldest := home.begin()
	if lsn >= oldest || home.holds(lsn) {
		return nil
	}
	t.env.counters.gcRefused.Add(1)
	if oldest == home.from().initial {
		return fmt.Errorf("%w: LSN %s of timeline %s, which begins at %s%s", ErrBeforeHistory, lsn, t.meta.Name, oldest, home.whyThere())
	}
	return fmt.Errorf("%w: LSN %s of timeline %s: garbage collection has freed what lies below %s; ask for that LSN or a later one, and lease LSNs that are to stay",
		ErrBeforeHistory, lsn, home.meta.Name, oldest)
}

// whyThere says why a timeline begins where it does.
func (t *Timeline) whyThere() string {
	if t.ancestor() != nil || len(t.Layers()) == 0 {
		return ""
	}
	return ": what it was imported from is one state only there, at the end of the shutdown checkpoint or of the base backup"
}

// planCutoff begins to move the cutoff: from now on nothing below it can be held anew. It gives the cutoff, which
// never goes back.
func (t *Timeline) planCutoff(cutoff page.LSN) page.LSN {
	t.kept.mu.Lock()
	defer t.kept.mu.Unlock()
	t.kept.mu.planned = max(t.kept.mu.planned, cutoff)
	return t.kept.mu.planned
}

// plannedCutoff gives the cutoff that was planned last: after a collection that failed it is above the one in effect.
func (t *Timeline) plannedCutoff() page.LSN {
	t.kept.mu.Lock()
	defer t.kept.mu.Unlock()
	return t.kept.mu.planned
}

// moveCutoff makes a cutoff durable, and has reads below it refused.
func (t *Timeline) moveCutoff(ctx context.Context, cutoff page.LSN) error {
	cutoff = t.planCutoff(cutoff)
	if err := t.flusher.take(ctx); err != nil {
		return err
	}
	defer t.flusher.give()
	if cutoff <= t.ownCutoff() {
		return nil
	}
	if err := t.publish(&manifest.Edit{Cutoff: cutoff}); err != nil {
		return fmt.Errorf("timeline %s: moving its cutoff from %s to %s: %w", t.meta.Name, t.ownCutoff(), cutoff, err)
	}
	t.kept.cutoff.Store(uint64(cutoff))
	return nil
}
