package tenant

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
)

// An archived timeline can be read and nothing else; its index in remote storage says since when. One that is archived can be
// offloaded: its local files go, and it is remembered in the tenant's file TIMELINES and in the tenant's manifest in remote
// storage. A crash between the steps leaves the state before or after; each call can be repeated.

// find gives a timeline in whatever state.
func (t *Tenant) find(nameOrID string) (*slot, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.findLocked(nameOrID)
}

// state gives a timeline's state, and the timeline if it is open.
func (t *Tenant) stateOf(s *slot) (State, *timeline.Timeline) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return s.state, s.tl
}

// set changes what is known of a timeline.
func (t *Tenant) set(s *slot, change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
}

// branchesOf gives those timelines that branch from one and are not as they ought to be.
func (t *Tenant) branchesOf(s *slot, ought func(*slot) bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for _, c := range t.mu.slots {
		if c.lsn != 0 && c.ancestor == s.id && !ought(c) {
			names = append(names, fmt.Sprintf("%q (%s)", c.label(), c.state))
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	const listed = 10
	more := ""
	if n := len(names) - listed; n > 0 {
		names, more = names[:listed], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("timeline %s: %w: %s%s", s.label(), ErrHasBranches, strings.Join(names, ", "), more)
}

// Archive has a timeline be read and nothing else. All that branch from it must be archived. It returns once remote storage
// says so, if there is one.
func (t *Tenant) Archive(ctx context.Context, nameOrID string) error {
	return t.change(ctx, "archive", nameOrID, func(s *slot) error {
		state, tl := t.stateOf(s)
		if state == Offloaded {
			return nil
		}
		if state != Active {
			return s.unusable()
		}
		if err := t.branchesOf(s, func(c *slot) bool { return !c.archived.IsZero() }); err != nil {
			return fmt.Errorf("%w: archive them first", err)
		}
		r := recordOf(tl)
		if r.archived.IsZero() {
			r.archived = t.store.env.Clock().UTC()
		}
		r.word = wordArchived
		if err := t.record(r); err != nil {
			return err
		}
		t.set(s, func() { s.record = r })
		return tl.SetArchived(ctx, r.archived)
	})
}

// Unarchive has a timeline written to again, and brings it back if it is offloaded: its layers come when they are read. What it
// branches from must not be archived.
func (t *Tenant) Unarchive(ctx context.Context, nameOrID string) error {
	return t.change(ctx, "unarchive", nameOrID, func(s *slot) error {
		if up, err := t.find(s.ancestor.String()); s.lsn != 0 && err == nil && !up.archived.IsZero() {
			return fmt.Errorf("timeline %s branches from %s: %w; unarchive that one first", s.label(), up.label(), timeline.ErrArchived)
		}
		state, tl := t.stateOf(s)
		if state == Offloaded {
			var err error
			if tl, err = t.bringBack(ctx, s); err != nil {
				return err
			}
		} else if state != Active {
			return s.unusable()
		}
		if err := t.record(record{id: s.id}); err != nil {
			return err
		}
		t.set(s, func() { s.record.word, s.record.archived = "", time.Time{} })
		if err := tl.SetArchived(ctx, time.Time{}); err != nil {
			return err
		}
		return t.writeManifest(ctx)
	})
}

// bringBack makes a timeline of its index that was offloaded or detached. It is archived as before.
func (t *Tenant) bringBack(ctx context.Context, s *slot) (*timeline.Timeline, error) {
	if err := t.removeFolder(s.id); err != nil {
		return nil, err
	}
	part, _, err := upload.Load(ctx, t.store.env.Remote, t.place(s.id), t.store.env.Generation(t.ShardID()))
	if err != nil {
		return nil, err
	}
	if !part.DeletedAt.IsZero() {
		return nil, fmt.Errorf("%w at %s", ErrDeleted, part.DeletedAt)
	}
	part.ArchivedAt = s.archived
	a := timeline.Adoption{Tenant: t.id, Shard: t.shard, ID: s.id, Name: s.name, Index: part}
	if part.Metadata.Ancestor != nil {
		if a.Ancestor, err = t.Timeline(part.Metadata.Ancestor.String()); err != nil {
			return nil, fmt.Errorf("its ancestor: %w", err)
		}
	}
	tl, err := timeline.Adopt(ctx, t.store.env, t.dir, a)
	if err != nil {
		return nil, err
	}
	// Until the record is changed the folder is one that the next start removes.
	r := recordOf(tl)
	if !r.archived.IsZero() {
		r.word = wordArchived
	}
	if err := t.record(r); err != nil {
		return nil, t.reopenLater(s, tl, err)
	}
	t.set(s, func() {
		s.record, s.tl, s.state, s.err = r, tl, Active, nil
		if up := t.mu.slots[s.ancestor]; up != nil && up.tl != nil {
			up.tl.KeepHere(s.id)
		}
	})
	t.resumeDetaching()
	return tl, nil
}

// reopenLater closes a timeline again that could not be brought back.
func (t *Tenant) reopenLater(s *slot, tl *timeline.Timeline, err error) error {
	_ = tl.Abandon() // it has nothing that remote storage has not
	t.set(s, func() { t.keepForLocked(&s.record) })
	return err
}

// Offload removes the local files of an archived timeline. All that branch from it must be offloaded or detached.
func (t *Tenant) Offload(ctx context.Context, nameOrID string) error {
	return t.change(ctx, "offload", nameOrID, func(s *slot) error {
		state, tl := t.stateOf(s)
		switch {
		case state == Offloaded:
			return t.writeManifest(ctx)
		case state == Stopping && s.word == wordOffloaded: // its files are to go, and could not
		case state != Active:
			return s.unusable()
		case s.archived.IsZero():
			return fmt.Errorf("timeline %s is not archived; archive it first", s.label())
		}
		if err := t.branchesOf(s, func(c *slot) bool { return c.state == Offloaded || c.state == Detached }); err != nil {
			return fmt.Errorf("%w: offload them first", err)
		}
		if err := t.leave(ctx, s, tl, wordOffloaded, Offloaded); err != nil {
			return err
		}
		return t.writeManifest(ctx)
	})
}

// change does what changes a timeline, one at a time.
func (t *Tenant) change(ctx context.Context, what, nameOrID string, do func(*slot) error) error {
	if t.store.env.ReadOnly {
		return fmt.Errorf("%s timeline %s: %w", what, nameOrID, timeline.ErrReadOnly)
	}
	if err := t.take(ctx); err != nil {
		return err
	}
	defer t.give()
	s, err := t.find(nameOrID)
	if err == nil {
		err = do(s)
	}
	if err != nil {
		return fmt.Errorf("%s timeline %s: %w", what, nameOrID, err)
	}
	return nil
}
