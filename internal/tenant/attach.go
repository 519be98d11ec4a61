package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
)

// ErrDeleted says that a timeline's index says that it was deleted.
var ErrDeleted = errors.New("the timeline was deleted")

// AttachOptions say what is attached.
type AttachOptions struct {
	Tenant page.TenantID
	// Shard is which of its shards, if it has any. A StripeSize of 0 is the one that its manifest in remote storage names; any other must
	// be that.
	Shard page.ShardIdentity
	// Timelines are those wanted, with all that they branch from; none is all that the remote has.
	Timelines []page.TimelineID
	// Generation is the writer's, above all that were given out; 0 takes the next from the remote itself.
	Generation uint32
}

// Attach makes timelines of what remote storage has of a tenant, without any of their layers. What is here already stays as it
// is, so that an attachment that was interrupted may be repeated. It gives the timelines that were asked for.
func (s *Store) Attach(ctx context.Context, o AttachOptions) (*Tenant, []*timeline.Timeline, error) {
	if s.env.ReadOnly {
		return nil, nil, fmt.Errorf("attach tenant %s: %w", o.Tenant, timeline.ErrReadOnly)
	}
	if s.env.Remote == nil {
		return nil, nil, fmt.Errorf("attach tenant %s: %w", o.Tenant, ErrWithoutRemote)
	}
	t, err := s.attachTenant(ctx, o)
	if err != nil {
		return nil, nil, fmt.Errorf("attach tenant %s: %w", o.Tenant, err)
	}
	tls, err := t.attachAll(ctx, o.Timelines)
	if err != nil {
		return nil, nil, fmt.Errorf("attach tenant %s: %w", o.Tenant, err)
	}
	return t, tls, nil
}

// attachAll attaches timelines, or all that are neither offloaded nor deleted.
func (t *Tenant) attachAll(ctx context.Context, wanted []page.TimelineID) ([]*timeline.Timeline, error) {
	if err := t.take(ctx); err != nil {
		return nil, err
	}
	defer t.resumeDeletions()
	defer t.resumeDetaching()
	defer t.give()
	t.setState(Attaching)
	defer t.setState(Active)
	f, err := t.survey(ctx, wanted)
	if err != nil {
		return nil, err
	}
	if t.shard.Count > 0 {
		if err := t.writeManifest(ctx); err != nil {
			return nil, err
		}
	}
	var out []*timeline.Timeline
	imports := 0
	for n, id := range f.wanted {
		if f.parts[id].importing() && !t.isActive(id) {
			if err := t.attachImport(id, f.parts[id].Part); err != nil {
				return nil, fmt.Errorf("timeline %s: %w", id, err)
			}
			imports++
			continue
		}
		tl, err := t.attach(ctx, f, id, 0)
		if err != nil {
			return nil, fmt.Errorf("timeline %s: %w", id, err)
		}
		if n < f.asked {
			out = append(out, tl)
		}
	}
	if len(out)+imports == 0 && !slices.ContainsFunc(f.absent, func(r record) bool { return r.word != wordDeleting }) {
		return nil, fmt.Errorf("%w: remote storage has none of tenant %s", ErrTimelineNotFound, t.id)
	}
	return out, nil
}

func (t *Tenant) setState(s State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.state == Active || t.mu.state == Attaching {
		t.mu.state = s
	}
}

// attachTenant gives the tenant its generation, and makes it if it is not here.
func (s *Store) attachTenant(ctx context.Context, o AttachOptions) (*Tenant, error) {
	select {
	case s.making <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.making }()
	id := page.TenantShardID{Tenant: o.Tenant, Shard: o.Shard.ShardIndex}
	t, err := s.Shard(id)
	if err != nil && !errors.Is(err, ErrTenantNotFound) {
		return nil, err
	}
	g, ok, err := s.readGeneration(id)
	switch {
	case err != nil:
		return nil, err
	case ok && o.Generation != 0 && o.Generation != g:
		return nil, fmt.Errorf("it is attached with generation %d; detach it before it is attached with %d", g, o.Generation)
	case ok && t != nil:
		return t, nil
	}
	if t == nil {
		if o.Shard, err = s.stripeOf(ctx, o.Tenant, o.Shard, o.Generation); err != nil {
			return nil, err
		}
		if err := s.checkShard(o.Tenant, o.Shard); err != nil {
			return nil, err
		}
		if err := s.makeShardDir(o.Tenant, o.Shard); err != nil {
			return nil, err
		}
		if err := s.undetach(o.Tenant); err != nil {
			return nil, err
		}
	}
	if !ok {
		if err := s.giveGeneration(ctx, id, o.Generation); err != nil {
			return nil, err
		}
	}
	if t == nil {
		t = newTenant(s, o.Tenant, o.Shard)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mu.tenants[id] = t
	}
	return t, nil
}

// giveGeneration gives a tenant a generation for good: the one that is given, or the next.
func (s *Store) giveGeneration(ctx context.Context, id page.TenantShardID, generation uint32) error {
	p := upload.Place{Tenant: id.Tenant, Shard: id.Shard.Suffix()}
	ids, err := upload.Timelines(ctx, s.env.Remote, p)
	if err != nil {
		return err
	}
	var floor uint32
	for _, p.Timeline = range ids {
		g, _, err := upload.Newest(ctx, s.env.Remote, p)
		if err != nil {
			return err
		}
		floor = max(floor, g)
	}
	if generation == 0 {
		if generation, err = (upload.Leases{Remote: s.env.Remote}).Acquire(ctx, p, floor); err != nil {
			return err
		}
	}
	if generation < floor {
		return fmt.Errorf("%w: there is an index of generation %d, this one has %d", upload.ErrStale, floor, generation)
	}
	if err := s.writeGeneration(id, generation); err != nil {
		return err
	}
	s.env.SetGeneration(id, generation)
	return nil
}

// openGeneration is giveGeneration for a tenant that is opened: what it has stays.
func (s *Store) openGeneration(ctx context.Context, id page.TenantShardID) error {
	if s.env.Remote == nil {
		return nil
	}
	g, ok, err := s.readGeneration(id)
	if err != nil {
		return err
	}
	if ok {
		s.env.SetGeneration(id, g)
		return nil
	}
	if s.env.ReadOnly {
		return nil
	}
	given := uint32(0)
	if id.Tenant == s.file.DefaultTenant {
		given = s.generation
	}
	return s.giveGeneration(ctx, id, given)
}

// maxAncestors bounds how deep branches are.
const maxAncestors = 1000

// attach makes a timeline of its index, after those it branches from.
func (t *Tenant) attach(ctx context.Context, f *finds, id page.TimelineID, depth int) (*timeline.Timeline, error) {
	if s, err := t.find(id.String()); err == nil {
		state, tl := t.stateOf(s)
		if state == Active {
			return tl, nil
		}
		if state == Deleting {
			return nil, ErrDeleted
		}
		if state != Detached {
			return nil, s.unusable()
		}
	} else if !errors.Is(err, ErrTimelineNotFound) {
		return nil, err
	}
	if depth == maxAncestors {
		return nil, fmt.Errorf("%w: it has more than %d ancestors", timeline.ErrCorrupt, maxAncestors)
	}
	part := f.parts[id].Part
	if part == nil {
		return nil, remote.Wrap("attach", t.place(id).Prefix(), remote.ErrNotFound)
	}
	if !part.DeletedAt.IsZero() {
		return nil, fmt.Errorf("%w at %s", ErrDeleted, part.DeletedAt)
	}
	a := timeline.Adoption{Tenant: t.id, Shard: t.shard, ID: id, Index: part, Warm: timeline.WarmDir(t.store.dir, t.ShardID(), id)}
	if up := part.Metadata.Ancestor; up != nil {
		var err error
		if a.Ancestor, err = t.attach(ctx, f, *up, depth+1); err != nil {
			return nil, fmt.Errorf("its ancestor %s: %w", *up, err)
		}
	}
	if s, err := t.find(id.String()); err == nil {
		return t.bringBack(ctx, s)
	}
	a.Name = t.nameFor(id, part)
	if !part.ArchivedAt.IsZero() {
		r := record{word: wordArchived, id: id, name: a.Name, archived: part.ArchivedAt, lsn: part.Metadata.AncestorLSN}
		if a.Ancestor != nil {
			r.ancestor = a.Ancestor.ID()
		}
		if err := t.record(r); err != nil {
			return nil, err
		}
	}
	return t.Adopt(ctx, a)
}

// nameFor chooses the name of a timeline that is attached: its own; where it has none, as Neon's have not, "main" if it is no
// branch and nobody is called that, or one made of its id.
func (t *Tenant) nameFor(id page.TimelineID, part *index.Part) string {
	if o := part.Origin; o != nil && manifest.CheckName(o.Name) == nil && t.nameFree(o.Name) {
		return o.Name
	}
	if part.Metadata.Ancestor == nil && t.nameFree("main") {
		return "main"
	}
	return "timeline-" + id.String()
}

func (t *Tenant) nameFree(name string) bool {
	_, err := t.Timeline(name)
	return errors.Is(err, ErrTimelineNotFound)
}
