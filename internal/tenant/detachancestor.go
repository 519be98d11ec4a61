package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
)

// ErrDetachOngoing says that a timeline of the tenant is being detached from its ancestor already: one at a time is.
var ErrDetachOngoing = errors.New("a timeline of the tenant is being detached from its ancestor")

// DetachAncestorOptions say how a timeline is detached from its ancestor.
type DetachAncestorOptions struct {
	// Progress, if set, is told as layers are there, from any goroutine, and returns at once.
	Progress func(timeline.DetachProgress)
}

// DetachedAncestor says from what a timeline was detached.
type DetachedAncestor struct {
	// Ancestor is what the timeline branched from, LSN where.
	Ancestor page.TimelineID
	LSN      page.LSN
	// Reparented are the timelines that branched from Ancestor at LSN or below and branch from this one now, by id.
	Reparented []page.TimelineID
	// Before says that it was detached already.
	Before bool
}

// DetachAncestor makes a branch independent of what it branches from, which must be no branch itself: it gets the layers that
// it needs, and what branches from the same ancestor at its own branch LSN or below becomes a branch of it. It is read and written to
// meanwhile. It returns once remote storage has all of that, if there is one.
//
// It can be repeated, after an error too. What a crash leaves after the step that counts is ended when the store is opened again. Until
// then nothing is collected of the timeline.
func (t *Tenant) DetachAncestor(ctx context.Context, nameOrID string, o DetachAncestorOptions) (out DetachedAncestor, err error) {
	fail := func(err error) (DetachedAncestor, error) {
		return DetachedAncestor{}, fmt.Errorf("detach timeline %s from its ancestor: %w", nameOrID, err)
	}
	if t.store.env.ReadOnly {
		return fail(timeline.ErrReadOnly)
	}
	if !t.beginDetaching() {
		return fail(ErrDetachOngoing)
	}
	defer t.endDetaching()
	tl, err := t.Timeline(nameOrID)
	if err != nil {
		return fail(err)
	}
	before := tl.Lineage().OriginalLSN != 0
	if !before {
		d, err := tl.BeginDetach(ctx, o.Progress)
		if err != nil {
			return fail(err)
		}
		defer d.End()
		if err := t.commitDetached(ctx, nameOrID, tl, d); err != nil {
			return fail(err)
		}
	}
	out, err = t.settleDetached(ctx, tl)
	if err != nil {
		return fail(err)
	}
	out.Before = before
	return out, nil
}

// beginDetaching takes the turn of the one that is detached.
func (t *Tenant) beginDetaching() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.detaching {
		return false
	}
	t.mu.detaching = true
	return true
}

func (t *Tenant) endDetaching() { t.set(nil, func() { t.mu.detaching = false }) }

// commitDetached makes the step that counts.
func (t *Tenant) commitDetached(ctx context.Context, nameOrID string, tl *timeline.Timeline, d *timeline.Detachment) error {
	return t.change(ctx, "detach", nameOrID, func(s *slot) error {
		if state, now := t.stateOf(s); state != Active || now != tl {
			return errors.Join(timeline.ErrClosed, s.unusable())
		}
		if !tl.Archived().IsZero() {
			return timeline.ErrArchived
		}
		if err := d.Commit(ctx); err != nil {
			return err
		}
		t.set(s, func() { s.ancestor, s.lsn = page.TimelineID{}, 0 })
		return nil
	})
}

// settleDetached has what branches from the original ancestor branch from the timeline, and waits until remote storage says so. It has
// not the tenant's turn while it waits.
func (t *Tenant) settleDetached(ctx context.Context, tl *timeline.Timeline) (out DetachedAncestor, err error) {
	l := tl.Lineage()
	out = DetachedAncestor{Ancestor: l.Original, LSN: l.OriginalLSN}
	step := func(do func(s *slot) error) error {
		return t.change(ctx, "detach", tl.ID().String(), func(s *slot) error {
			if state, now := t.stateOf(s); state != Active || now != tl {
				return errors.Join(timeline.ErrClosed, s.unusable())
			}
			return do(s)
		})
	}
	var all []*timeline.Timeline
	err = step(func(s *slot) (err error) {
		all, err = t.reparentAll(ctx, s, tl)
		return err
	})
	if err != nil {
		return out, err
	}
	for _, x := range all {
		out.Reparented = append(out.Reparented, x.ID())
	}
	slices.SortFunc(out.Reparented, func(a, b page.TimelineID) int { return bytes.Compare(a[:], b[:]) })
	for _, x := range append(all, tl) {
		if err := x.WaitUploads(ctx); err != nil {
			return out, err
		}
	}
	return out, step(func(*slot) error {
		t.mu.Lock()
		var original *timeline.Timeline
		if up := t.mu.slots[l.Original]; up != nil {
			original = up.tl
		}
		t.mu.Unlock()
		return tl.Settled(ctx, original)
	})
}

// reparentAll has the active timelines that branch from the original ancestor, at the same LSN or below, branch from the
// timeline, and gives all those that do, from before too. What is not here stays a branch of the ancestor, which goes on to keep what that needs;
// and so does, in a repetition, what begins below what has been collected since.
func (t *Tenant) reparentAll(ctx context.Context, to *slot, tl *timeline.Timeline) (all []*timeline.Timeline, err error) {
	l := tl.Lineage()
	for _, s := range t.siblings(l.Original, l.OriginalLSN) {
		err := s.tl.Reparent(ctx, tl)
		if errors.Is(err, timeline.ErrBeforeHistory) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r := s.record
		r.ancestor = to.id
		if r.word != "" {
			if err := t.record(r); err != nil {
				return nil, err
			}
		}
		t.set(s, func() { s.record = r })
	}
	for _, s := range t.siblings(to.id, l.OriginalLSN) {
		if slices.Contains(s.tl.Lineage().Former, l.Original) {
			all = append(all, s.tl)
		}
	}
	return all, nil
}

// siblings gives the active branches of a timeline that begin at an LSN or below, in the order of ids.
func (t *Tenant) siblings(of page.TimelineID, lsn page.LSN) (out []*slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.mu.slots {
		if s.state == Active && s.tl != nil && s.lsn != 0 && s.ancestor == of && s.lsn <= lsn {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *slot) int { return bytes.Compare(a.id[:], b.id[:]) })
	return out
}

// unsettled gives the timelines whose detachment has not ended.
func (t *Tenant) unsettled() (out []*timeline.Timeline) {
	for _, tl := range t.Timelines() {
		if tl.Unsettled() {
			out = append(out, tl)
		}
	}
	return out
}

// keepUnsettledLocked has ancestors keep what remote storage may say yet that they are the ancestors of.
func (t *Tenant) keepUnsettledLocked() {
	for _, s := range t.mu.slots {
		if s.tl == nil || !s.tl.Unsettled() {
			continue
		}
		if up := t.mu.slots[s.tl.Lineage().Original]; up != nil && up.tl != nil {
			s.tl.KeepUnsettled(up.tl)
		}
	}
}

// neededUnsettled says why a timeline cannot be deleted that no other branches from.
func (t *Tenant) neededUnsettled(id page.TimelineID) error {
	for _, tl := range t.unsettled() {
		if tl.Lineage().Original == id {
			return fmt.Errorf("%w: %w of timeline %s from it; repeat that first", ErrHasBranches, timeline.ErrUnsettled, tl.Name())
		}
	}
	return nil
}

// Pauses between attempts to end a detachment in the background.
const (
	firstSettlePause   = time.Second
	longestSettlePause = time.Minute
)

// resumeDetaching ends detachments in the background which a process has begun that is no more.
func (t *Tenant) resumeDetaching() {
	if t.store.env.ReadOnly || len(t.unsettled()) == 0 {
		return
	}
	_ = t.tasks.Go(func(ctx context.Context) { // closed otherwise
		for wait := firstSettlePause; ; wait = min(2*wait, longestSettlePause) {
			left := 0
			for _, tl := range t.unsettled() {
				if _, err := t.DetachAncestor(ctx, tl.ID().String(), DetachAncestorOptions{}); err != nil && ctx.Err() == nil {
					left++
					t.store.env.Logger.Warn("a timeline is not quite detached from its ancestor yet", "tenant", t.id, "timeline", tl.Name(), "err", err)
				}
			}
			if left == 0 || clock.Sleep(ctx, wait) != nil {
				return
			}
		}
	})
}
