package tenant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

var (
	// ErrTimelineNotFound says that a tenant has no timeline of that name or id.
	ErrTimelineNotFound = errors.New("no such timeline")
	// ErrTimelineExists says that the name or id is taken.
	ErrTimelineExists = errors.New("timeline exists")
)

// Tenant is one tenant of an open store.
type Tenant struct {
	store *Store
	id    page.TenantID
	shard page.ShardIdentity
	dir   string // where the timelines are

	making chan struct{} // a timeline is being made; holds one, so that names stay unique
	mu     struct {
		sync.Mutex
		timelines map[page.TimelineID]*timeline.Timeline
		closed    bool
	}
}

func newTenant(s *Store, id page.TenantID, shard page.ShardIdentity) *Tenant {
	t := &Tenant{store: s, id: id, shard: shard, making: make(chan struct{}, 1)}
	t.dir = filepath.Join(s.tenantDir(t.ShardID()), timelinesName)
	t.mu.timelines = map[page.TimelineID]*timeline.Timeline{}
	return t
}

// ID is the tenant's id.
func (t *Tenant) ID() page.TenantID { return t.id }

// openTenant opens every timeline of a tenant.
func (s *Store) openTenant(ctx context.Context, id page.TenantShardID) (_ *Tenant, err error) {
	shard, err := s.readShard(id)
	if err != nil {
		return nil, err
	}
	t := newTenant(s, id.Tenant, shard)
	names, err := s.fs.List(s.tenantDir(id))
	if err != nil {
		return nil, err
	}
	if !slices.Contains(names, timelinesName) {
		return nil, fmt.Errorf("%w: tenant directory %s has %q, and no %q", timeline.ErrCorrupt, s.tenantDir(id), names, timelinesName)
	}
	for _, n := range names {
		if n != timelinesName && n != tenantFileName && n != shardFileName && !strings.HasSuffix(n, virtualfile.TempSuffix) {
			s.setAside(filepath.Join(s.tenantDir(id), n), "no file of a tenant")
		}
	}
	if err := s.openGeneration(ctx, id); err != nil {
		return nil, err
	}
	if err := s.keep(s.tenantDir(id), t.dir); err != nil {
		return nil, err
	}
	if names, err = s.fs.List(t.dir); err != nil {
		return nil, err
	}
	opened := map[page.TimelineID]*timeline.Opened{}
	defer func() {
		if err != nil {
			for _, o := range opened {
				err = errors.Join(err, o.Close())
			}
			err = errors.Join(err, t.close())
		}
	}()
	for _, n := range names {
		path := filepath.Join(t.dir, n)
		if strings.HasSuffix(n, virtualfile.TempSuffix) {
			if err := s.dropUnfinished(path); err != nil {
				return nil, err
			}
			continue
		}
		tid, err := page.ParseTimelineID(n)
		if err != nil || tid.String() != n {
			s.setAside(path, "no timeline's folder")
			continue
		}
		if opened[tid], err = timeline.Open(ctx, s.env, path, id, tid); err != nil {
			delete(opened, tid)
			return nil, err
		}
	}
	return t, t.startAll(opened)
}

// setAside moves away what lies where only a store's own folders are, unless it has been moved there.
func (s *Store) setAside(path, reason string) {
	if filepath.Base(path) != virtualfile.SetAsideDir {
		s.env.SetAside(path, reason)
	}
}

// dropUnfinished removes a timeline that was never finished.
func (s *Store) dropUnfinished(path string) error {
	if s.env.ReadOnly {
		return nil
	}
	if err := s.fs.RemoveAll(path); err != nil {
		return err
	}
	s.env.LeftOver(path, "the timeline was never finished")
	return s.fs.SyncDir(filepath.Dir(path))
}

// startAll starts timelines, ancestors first, and takes each out of opened.
func (t *Tenant) startAll(opened map[page.TimelineID]*timeline.Opened) error {
	for len(opened) > 0 {
		started := 0
		for id, o := range opened {
			a, branch := o.Ancestor()
			parent := t.mu.timelines[a]
			if branch && parent == nil {
				continue
			}
			tl, err := o.Start(parent)
			if err != nil {
				return err
			}
			t.mu.timelines[id] = tl
			delete(opened, id)
			started++
		}
		if started == 0 {
			for id, o := range opened {
				a, _ := o.Ancestor()
				return fmt.Errorf("%w: timeline %s branches from %s, which is missing or descends from it", timeline.ErrCorrupt, id, a)
			}
		}
	}
	return nil
}

// Timeline finds a timeline by name or id.
func (t *Tenant) Timeline(nameOrID string) (*timeline.Timeline, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.closed {
		return nil, fmt.Errorf("tenant %s: %w", t.id, timeline.ErrClosed)
	}
	if id, err := page.ParseTimelineID(nameOrID); err == nil {
		if tl := t.mu.timelines[id]; tl != nil {
			return tl, nil
		}
		return nil, fmt.Errorf("%w: %s", ErrTimelineNotFound, id)
	}
	var found *timeline.Timeline
	for _, tl := range t.mu.timelines {
		if tl.Name() != nameOrID {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("timelines %s and %s are both called %q; say which by its id", found.ID(), tl.ID(), nameOrID)
		}
		found = tl
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %q", ErrTimelineNotFound, nameOrID)
	}
	return found, nil
}

// Timelines lists the timelines by name, then id.
func (t *Tenant) Timelines() []*timeline.Timeline {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*timeline.Timeline, 0, len(t.mu.timelines))
	for _, tl := range t.mu.timelines {
		out = append(out, tl)
	}
	slices.SortFunc(out, func(a, b *timeline.Timeline) int {
		return cmp.Or(strings.Compare(a.Name(), b.Name()), strings.Compare(a.ID().String(), b.ID().String()))
	})
	return out
}

// beginCreate takes the turn of those who make timelines, and makes sure that name and id are free. An id of
// zeros is replaced by a random one.
func (t *Tenant) beginCreate(ctx context.Context, name string, id *page.TimelineID) error {
	if t.store.env.ReadOnly {
		return fmt.Errorf("new timeline %s: %w", name, timeline.ErrReadOnly)
	}
	if err := manifest.CheckName(name); err != nil {
		return err
	}
	if *id == (page.TimelineID{}) {
		*id = page.TimelineID(randomID())
	}
	select {
	case t.making <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var err error
	if t.mu.closed {
		err = fmt.Errorf("tenant %s: %w", t.id, timeline.ErrClosed)
	} else if t.mu.timelines[*id] != nil {
		err = fmt.Errorf("%w: id %s", ErrTimelineExists, *id)
	}
	for _, tl := range t.mu.timelines {
		if tl.Name() == name {
			err = fmt.Errorf("%w: %q (id %s); choose another name", ErrTimelineExists, name, tl.ID())
		}
	}
	if err != nil {
		<-t.making
	}
	return err
}

// made registers a new timeline.
func (t *Tenant) made(tl *timeline.Timeline, err error) (*timeline.Timeline, error) {
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.timelines[tl.ID()] = tl
	return tl, nil
}

// Create makes an empty timeline. Tenant and ancestor of m do not count.
func (t *Tenant) Create(ctx context.Context, m manifest.Meta) (*timeline.Timeline, error) {
	if err := t.beginCreate(ctx, m.Name, &m.Timeline); err != nil {
		return nil, err
	}
	defer func() { <-t.making }()
	m.Tenant, m.Shard, m.Ancestor, m.AncestorLSN = t.id, t.shard, page.TimelineID{}, 0
	return t.made(timeline.Create(ctx, t.store.env, t.dir, m, 0, nil, nil))
}

// Branch makes a child of parent that begins at the last whole record at or before lsn.
func (t *Tenant) Branch(ctx context.Context, parent *timeline.Timeline, name string, id page.TimelineID, lsn page.LSN) (*timeline.Timeline, error) {
	if m := parent.Meta(); m.Owner() != t.ShardID() {
		return nil, fmt.Errorf("branch %s: timeline %s belongs to tenant %s, not to %s", name, parent.Name(), m.Owner(), t.ShardID())
	}
	if err := t.beginCreate(ctx, name, &id); err != nil {
		return nil, err
	}
	defer func() { <-t.making }()
	return t.made(parent.Branch(ctx, t.dir, name, id, lsn))
}

// ImportOptions say how an import stores pages.
type ImportOptions struct {
	LayerSize   int64 // bytes, about, of one layer file
	Compression layer.Compression
}

// Import makes a timeline whose first state is what source puts into the sink: every key once, in ascending
// order. Nothing is visible until all of it is durable. prev is where the record that ends at m.InitialLSN
// begins. Tenant and ancestor of m do not count.
func (t *Tenant) Import(ctx context.Context, m manifest.Meta, prev page.LSN, o ImportOptions, source func(sink *timeline.ImageSink) error) (*timeline.Timeline, error) {
	if err := t.beginCreate(ctx, m.Name, &m.Timeline); err != nil {
		return nil, err
	}
	defer func() { <-t.making }()
	m.Tenant, m.Shard, m.Ancestor, m.AncestorLSN = t.id, t.shard, page.TimelineID{}, 0
	return t.made(timeline.Create(ctx, t.store.env, t.dir, m, prev, nil, func(dir string) ([]layer.Desc, error) {
		sink := timeline.NewImageSink(t.store.env, dir, &m, o.LayerSize, o.Compression)
		if err := source(sink); err != nil {
			sink.Abort()
			return nil, err
		}
		return sink.Close(ctx)
	}))
}

// Adopt makes a timeline of what an index of Neon's lists. The tenant of a must be this one.
func (t *Tenant) Adopt(ctx context.Context, a timeline.Adoption) (*timeline.Timeline, error) {
	if a.Tenant != t.id || a.Shard != t.shard {
		return nil, fmt.Errorf("adopt timeline %s: its layers belong to tenant %s (%s), not to %s (%s)", a.ID, a.Tenant, a.Shard, t.id, t.shard)
	}
	if err := t.beginCreate(ctx, a.Name, &a.ID); err != nil {
		return nil, err
	}
	defer func() { <-t.making }()
	return t.made(timeline.Adopt(ctx, t.store.env, t.dir, a))
}

// close closes every timeline.
func (t *Tenant) close() error {
	t.mu.Lock()
	t.mu.closed = true
	t.mu.Unlock()
	// Whoever makes a timeline now ends first.
	t.making <- struct{}{}
	defer func() { <-t.making }()
	var errs []error
	for _, tl := range t.Timelines() {
		errs = append(errs, tl.Close())
	}
	return errors.Join(errs...)
}
