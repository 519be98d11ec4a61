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

	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/internal/tasks"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
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

	// turn is that of whoever archives, offloads, detaches, deletes or attaches timelines. It guards records, which are
	// those of the file, and unsure, which is set while it is not known what the file has.
	turn    chan struct{}
	records records
	unsure  bool
	tasks   *tasks.Group
	makers  sync.WaitGroup // timelines that are being made; it grows under mu

	mu struct {
		sync.Mutex
		slots  map[page.TimelineID]*slot
		state  State
		err    error // why it is Broken
		closed bool
		// splitting says that no timelines can be made.
		splitting bool
		// detaching says that a timeline is being detached from its ancestor.
		detaching bool
	}
}

func newTenant(s *Store, id page.TenantID, shard page.ShardIdentity) *Tenant {
	t := &Tenant{store: s, id: id, shard: shard, turn: make(chan struct{}, 1), tasks: tasks.New()}
	t.dir = filepath.Join(s.tenantDir(t.ShardID()), timelinesName)
	t.mu.slots = map[page.TimelineID]*slot{}
	return t
}

// ID is the tenant's id.
func (t *Tenant) ID() page.TenantID { return t.id }

// place is where a timeline's objects are.
func (t *Tenant) place(id page.TimelineID) upload.Place {
	return upload.Place{Tenant: t.id, Timeline: id, Shard: t.shard.Suffix()}
}

// take takes the turn of those who change what timelines there are.
func (t *Tenant) take(ctx context.Context) error {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.usableLocked(); err != nil {
		<-t.turn
		return err
	}
	return nil
}

func (t *Tenant) give() { <-t.turn }

// usableLocked says why a tenant cannot be used.
func (t *Tenant) usableLocked() error {
	switch {
	case t.mu.closed:
		return fmt.Errorf("tenant %s: %w", t.ShardID(), timeline.ErrClosed)
	case t.mu.state == Broken:
		return fmt.Errorf("tenant %s: %w: %w", t.ShardID(), ErrBroken, t.mu.err)
	}
	return nil
}

// Timeline finds a timeline by name or id. One that is there and cannot be used is ErrBroken or ErrNotActive.
func (t *Tenant) Timeline(nameOrID string) (*timeline.Timeline, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.findLocked(nameOrID)
	if err == nil {
		err = s.unusable()
	}
	if err != nil {
		return nil, err
	}
	return s.tl, nil
}

// findLocked finds a timeline in whatever state.
func (t *Tenant) findLocked(nameOrID string) (*slot, error) {
	if err := t.usableLocked(); err != nil {
		return nil, err
	}
	if id, err := page.ParseTimelineID(nameOrID); err == nil {
		if s := t.mu.slots[id]; s != nil {
			return s, nil
		}
		return nil, fmt.Errorf("%w: %s", ErrTimelineNotFound, id)
	}
	var found *slot
	for _, s := range t.mu.slots {
		if s.name != nameOrID {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("timelines %s and %s are both called %q; say which by its id", found.id, s.id, nameOrID)
		}
		found = s
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %q", ErrTimelineNotFound, nameOrID)
	}
	return found, nil
}

// Timelines lists the active timelines by name, then id.
func (t *Tenant) Timelines() []*timeline.Timeline {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*timeline.Timeline, 0, len(t.mu.slots))
	for _, s := range t.mu.slots {
		if s.state == Active {
			out = append(out, s.tl)
		}
	}
	slices.SortFunc(out, func(a, b *timeline.Timeline) int {
		return cmp.Or(strings.Compare(a.Name(), b.Name()), strings.Compare(a.ID().String(), b.ID().String()))
	})
	return out
}

// closers is how many timelines are closed at once.
const closers = 32

func (t *Tenant) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.closed
}

// close closes every timeline, branches before what they branch from. Together they wait for uploads no longer than one does. Without
// write what is only in memory is given up, and uploads end at once.
func (t *Tenant) close(write bool) error {
	t.mu.Lock()
	t.mu.closed = true
	if t.mu.state == Active {
		t.mu.state = Stopping
	}
	for _, s := range t.mu.slots {
		if s.stop != nil {
			s.stop()
		}
	}
	t.mu.Unlock()
	t.tasks.Stop()
	t.makers.Wait()
	t.turn <- struct{}{} // whoever has it ends first
	defer t.give()
	ctx, cancel := context.WithTimeout(context.Background(), t.store.env.CloseTime())
	defer cancel()
	var mu sync.Mutex
	var errs []error
	for _, level := range t.levels() {
		var g errgroup.Group
		g.SetLimit(closers)
		for _, tl := range level {
			g.Go(func() error {
				end := tl.Abandon
				if write {
					end = func() error { return tl.CloseBy(ctx) }
				}
				if err := end(); err != nil {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, err)
				}
				return nil
			})
		}
		_ = g.Wait() // all are in errs
	}
	return errors.Join(errs...)
}

// levels gives the open timelines, those first that are farthest from their root.
func (t *Tenant) levels() [][]*timeline.Timeline {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out [][]*timeline.Timeline
	for _, s := range t.mu.slots {
		if s.tl == nil {
			continue
		}
		depth := 0
		for up := t.mu.slots[s.ancestor]; up != nil && depth < maxAncestors; up = t.mu.slots[up.ancestor] {
			depth++
		}
		for len(out) <= depth {
			out = append(out, nil)
		}
		out[depth] = append(out[depth], s.tl)
	}
	slices.Reverse(out)
	return out
}
