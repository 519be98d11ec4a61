package timeline

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/page"
)

// A branch need not be here: it may be offloaded, detached, or broken. What it needs of its ancestors is kept all the same.

// ErrKeepsAll says that nothing is collected, as it is not known what some branch needs.
var ErrKeepsAll = errors.New("nothing is collected while a timeline is broken and may be a branch")

// KeepFor keeps what a branch that is not here, or not any more, needs of t and of t's ancestors, until Forget or KeepHere.
func (t *Timeline) KeepFor(branch page.TimelineID, lsn page.LSN) {
	for x := t; x != nil; x = x.ancestor() {
		x.kept.mu.Lock()
		if x.kept.mu.absent == nil {
			x.kept.mu.absent = map[page.TimelineID]page.LSN{}
		}
		x.kept.mu.absent[branch] = lsn
		x.dropChildLocked(branch)
		x.kept.mu.Unlock()
		if lsn >= x.from().lsn {
			return
		}
	}
}

// Forget keeps nothing any more for a branch that is gone for good, or has become another's to keep.
func (t *Timeline) Forget(branch page.TimelineID) {
	for x := t; x != nil; x = x.ancestor() {
		x.kept.mu.Lock()
		delete(x.kept.mu.absent, branch)
		x.dropChildLocked(branch)
		x.kept.mu.Unlock()
	}
}

func (t *Timeline) dropChildLocked(branch page.TimelineID) {
	t.kept.mu.children = slices.DeleteFunc(t.kept.mu.children, func(c *Timeline) bool { return c.meta.Timeline == branch })
}

// KeepAll has nothing collected of the timeline, for as long as it is open.
func (t *Timeline) KeepAll() { t.kept.all.Store(true) }

// absent gives the LSNs that branches need which are not here.
func (t *Timeline) absent() []page.LSN {
	t.kept.mu.Lock()
	defer t.kept.mu.Unlock()
	lsns := make([]page.LSN, 0, len(t.kept.mu.absent))
	for _, lsn := range t.kept.mu.absent {
		lsns = append(lsns, lsn)
	}
	return lsns
}

// planFrom is the oldest LSN that plans must keep whole.
func (t *Timeline) planFrom() page.LSN {
	if t.kept.all.Load() || t.kept.settling.Load() {
		return t.from().initial
	}
	return t.begin()
}

func (t *Timeline) checkKeepsAll() error {
	if t.kept.all.Load() {
		return fmt.Errorf("%w: repair it, or delete it", ErrKeepsAll)
	}
	if t.kept.settling.Load() {
		return fmt.Errorf("%w: nothing is collected meanwhile; repeat it", ErrUnsettled)
	}
	return nil
}

// KeepHere says that a branch is here which was not: it says itself what it needs.
func (t *Timeline) KeepHere(branch page.TimelineID) {
	for x := t; x != nil; x = x.ancestor() {
		x.kept.mu.Lock()
		delete(x.kept.mu.absent, branch)
		x.kept.mu.Unlock()
	}
}

// ReadPoints lists the LSNs at which reads are served even below the cutoff: of leases, running work, and branches.
func (t *Timeline) ReadPoints() []page.LSN {
	points := t.readPoints()
	out := make([]page.LSN, len(points))
	for i := range points {
		out[i] = points[i].LSN
	}
	return out
}
