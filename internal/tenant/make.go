package tenant

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
)

// reserve takes name and id for a timeline that is to be made. An id of zeros is replaced by a random one. Where the very
// timeline is there already, as same says, it is given instead: whoever does not know whether he has made it may do so again.
// The context ends when the making is called off.
func (t *Tenant) reserve(ctx context.Context, r record, state State, same func(*timeline.Timeline) bool) (context.Context, *slot, *timeline.Timeline, error) {
	if t.store.env.ReadOnly {
		return nil, nil, nil, fmt.Errorf("new timeline %s: %w", r.name, timeline.ErrReadOnly)
	}
	if err := manifest.CheckName(r.name); err != nil {
		return nil, nil, nil, err
	}
	given := r.id != page.TimelineID{}
	if !given {
		r.id = page.TimelineID(randomID())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usableLocked(); err != nil {
		return nil, nil, nil, err
	}
	if t.mu.splitting {
		return nil, nil, nil, fmt.Errorf("new timeline %s: %w: its tenant is being split", r.name, ErrNotActive)
	}
	if t.mu.state == Deleting {
		return nil, nil, nil, fmt.Errorf("new timeline %s: %w: its tenant is being deleted", r.name, ErrNotActive)
	}
	if s := t.mu.slots[r.id]; s != nil {
		if s.state == Active && given && same != nil && same(s.tl) {
			return nil, nil, s.tl, nil
		}
		return nil, nil, nil, fmt.Errorf("%w: id %s is that of timeline %q, which is %s", ErrTimelineExists, r.id, s.name, s.state)
	}
	for _, s := range t.mu.slots {
		if s.name == r.name {
			return nil, nil, nil, fmt.Errorf("%w: %q (id %s) is %s; choose another name", ErrTimelineExists, r.name, s.id, s.state)
		}
	}
	if err := t.checkParentLocked(&r); err != nil {
		return nil, nil, nil, err
	}
	s := &slot{record: r, state: state, known: true, made: make(chan struct{})}
	ctx, s.stop = context.WithCancel(ctx)
	t.mu.slots[r.id] = s
	t.makers.Add(1)
	return ctx, s, nil, nil
}

// checkParentLocked says why nothing may branch from a timeline.
func (t *Tenant) checkParentLocked(r *record) error {
	if r.lsn == 0 {
		return nil
	}
	up := t.mu.slots[r.ancestor]
	if up == nil {
		return fmt.Errorf("branch %s: %w: %s", r.name, ErrTimelineNotFound, r.ancestor)
	}
	if err := up.unusable(); err != nil {
		return fmt.Errorf("branch %s: %w", r.name, err)
	}
	return nil
}

// made gives a timeline its place, or the place back.
func (t *Tenant) made(s *slot, tl *timeline.Timeline, err error) (*timeline.Timeline, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		delete(t.mu.slots, s.id)
	} else {
		s.tl, s.state, s.record, s.importing, s.files, s.err = tl, Active, recordOf(tl), nil, nil, nil
	}
	s.stop()
	s.stop = nil
	close(s.made)
	t.makers.Done()
	return tl, err
}

// Create makes an empty timeline. Tenant and ancestor of m do not count. Made again with the id and all else that it has, it is
// given as it is.
func (t *Tenant) Create(ctx context.Context, m manifest.Meta) (*timeline.Timeline, error) {
	m.Tenant, m.Shard, m.Ancestor, m.AncestorLSN = t.id, t.shard, page.TimelineID{}, 0
	ctx, s, there, err := t.reserve(ctx, record{id: m.Timeline, name: m.Name}, Creating, func(tl *timeline.Timeline) bool {
		c := tl.Meta()
		if c.RelDirs.Form > m.RelDirs.Form { // it may have gone on
			c.RelDirs = m.RelDirs
		}
		c.RelDirsWanted = m.RelDirsWanted
		return c == m
	})
	if s == nil {
		return there, err
	}
	m.Timeline = s.id
	tl, err := timeline.Create(ctx, t.store.env, t.dir, m, 0, nil, nil)
	return t.made(s, tl, err)
}

// Branch makes a child of parent that begins at the last whole record at or before lsn. Made again with the id, the name and an
// lsn that means the same, it is given as it is.
func (t *Tenant) Branch(ctx context.Context, parent *timeline.Timeline, name string, id page.TimelineID, lsn page.LSN) (*timeline.Timeline, error) {
	m := parent.Meta()
	if m.Owner() != t.ShardID() {
		return nil, fmt.Errorf("branch %s: timeline %s belongs to tenant %s, not to %s", name, parent.Name(), m.Owner(), t.ShardID())
	}
	if !parent.Archived().IsZero() {
		return nil, fmt.Errorf("branch %s: timeline %s: %w", name, parent.Name(), timeline.ErrArchived)
	}
	begin, resolveErr := parent.ResolveLSN(ctx, lsn)
	ctx, s, there, err := t.reserve(ctx, record{id: id, name: name, ancestor: m.Timeline, lsn: max(lsn, 1)}, Creating, func(tl *timeline.Timeline) bool {
		c := tl.Meta()
		return c.Name == name && c.Ancestor == m.Timeline && resolveErr == nil && c.AncestorLSN == begin
	})
	if s == nil {
		return there, err
	}
	tl, err := parent.Branch(ctx, t.dir, name, s.id, lsn)
	return t.made(s, tl, err)
}

// Adopt makes a timeline of what an index of Neon's lists. The tenant of a must be this one.
func (t *Tenant) Adopt(ctx context.Context, a timeline.Adoption) (*timeline.Timeline, error) {
	if a.Tenant != t.id || a.Shard != t.shard {
		return nil, fmt.Errorf("adopt timeline %s: its layers belong to tenant %s (%s), not to %s (%s)", a.ID, a.Tenant, a.Shard, t.id, t.shard)
	}
	r := record{id: a.ID, name: a.Name}
	if a.Ancestor != nil {
		r.ancestor, r.lsn = a.Ancestor.ID(), a.Index.Metadata.AncestorLSN
	}
	ctx, s, _, err := t.reserve(ctx, r, Attaching, nil)
	if s == nil {
		return nil, err
	}
	tl, err := timeline.Adopt(ctx, t.store.env, t.dir, a)
	return t.made(s, tl, err)
}

// callOff ends the making of a timeline, and waits for that.
func (t *Tenant) callOff(ctx context.Context, s *slot) error {
	t.mu.Lock()
	stop, made := s.stop, s.made
	t.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	select {
	case <-made:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), fmt.Errorf("waiting for the making of timeline %s to end", s.label()))
	}
}
