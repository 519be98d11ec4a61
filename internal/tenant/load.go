package tenant

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// openTenant opens every timeline of a tenant. With Options.Isolate one that cannot be opened is Broken, and an error is
// what keeps the whole tenant from being used.
func (s *Store) openTenant(ctx context.Context, id page.TenantShardID) (_ *Tenant, err error) {
	shard, err := s.readShard(id)
	if err != nil {
		return nil, err
	}
	t := newTenant(s, id.Tenant, shard)
	if err := t.openFolder(ctx); err != nil {
		return nil, err
	}
	names, err := s.fs.List(t.dir)
	if err != nil {
		return nil, err
	}
	opened := map[page.TimelineID]*timeline.Opened{}
	defer func() {
		if err != nil {
			for _, o := range opened {
				err = errors.Join(err, o.Close())
			}
			err = errors.Join(err, t.close(true))
		}
	}()
	for _, n := range names {
		if err := t.openEntry(ctx, n, opened); err != nil {
			return nil, err
		}
	}
	if err := t.startAll(ctx, opened); err != nil {
		return nil, err
	}
	return t, t.settle(ctx)
}

// openFolder makes sure of the tenant's own files.
func (t *Tenant) openFolder(ctx context.Context) error {
	s, id := t.store, t.ShardID()
	names, err := s.fs.List(s.tenantDir(id))
	if err != nil {
		return err
	}
	if !slices.Contains(names, timelinesName) {
		return fmt.Errorf("%w: tenant directory %s has %q, and no %q", timeline.ErrCorrupt, s.tenantDir(id), names, timelinesName)
	}
	for _, n := range names {
		if !slices.Contains([]string{timelinesName, tenantFileName, timelinesFileName, shardFileName, splitFileName, deletedFileName}, n) && !strings.HasSuffix(n, virtualfile.TempSuffix) {
			s.setAside(filepath.Join(s.tenantDir(id), n), "no file of a tenant")
		}
	}
	if t.records, err = s.readRecords(id); err != nil {
		return err
	}
	if deleted, err := s.isDeleted(id); err != nil {
		return err
	} else if deleted {
		t.mu.state = Deleting
	}
	if err := s.openGeneration(ctx, id); err != nil {
		return err
	}
	return s.keep(s.tenantDir(id), t.dir)
}

// openEntry opens what lies where timelines are.
func (t *Tenant) openEntry(ctx context.Context, name string, opened map[page.TimelineID]*timeline.Opened) error {
	s, path := t.store, filepath.Join(t.dir, name)
	if strings.HasSuffix(name, virtualfile.TempSuffix) {
		return s.dropUnfinished(path)
	}
	if id, ok := strings.CutSuffix(name, timeline.ImportSuffix); ok {
		return t.openImport(path, id)
	}
	id, err := page.ParseTimelineID(name)
	if err != nil || id.String() != name {
		s.setAside(path, "no timeline's folder")
		return nil
	}
	r := t.records[id]
	switch r.word {
	case wordDeleting:
		return nil
	case wordOffloaded, wordDetached:
		if s.env.ReadOnly {
			return nil
		}
		return t.removeFolder(id)
	}
	o, err := timeline.Open(ctx, s.env, path, t.ShardID(), id)
	if err != nil {
		known := r.word != ""
		var broken *timeline.BrokenError
		if errors.As(err, &broken) && broken.Meta.Timeline == id {
			m := &broken.Meta
			r.name, r.ancestor, r.lsn, known = m.Name, m.Ancestor, m.AncestorLSN, true
		}
		return t.broke(ctx, record{id: id, archived: r.archived, name: r.name, ancestor: r.ancestor, lsn: r.lsn}, known, err)
	}
	o.Archived, opened[id] = r.archived, o
	return nil
}

// broke notes a timeline that cannot be opened, known saying that it is known what it branches from, or gives the error where that is to be the whole store's.
func (t *Tenant) broke(ctx context.Context, r record, known bool, err error) error {
	if !t.store.isolate || ctx.Err() != nil {
		return err
	}
	t.store.env.Logger.Error("a timeline is broken; others are not", "tenant", t.ShardID(), "timeline", r.id, "err", err)
	t.mu.slots[r.id] = &slot{record: r, known: known, state: Broken, err: err}
	return nil
}

// recordOf is what is known of an open timeline.
func recordOf(tl *timeline.Timeline) record {
	m := tl.Meta()
	r := record{id: m.Timeline, name: m.Name, archived: tl.Archived()}
	if m.AncestorLSN != 0 {
		r.ancestor, r.lsn = m.Ancestor, m.AncestorLSN
	}
	return r
}

// startAll starts timelines, ancestors first, and takes each out of opened.
func (t *Tenant) startAll(ctx context.Context, opened map[page.TimelineID]*timeline.Opened) error {
	for started := true; started; {
		started = false
		for id, o := range opened {
			a, branch := o.Ancestor()
			var parent *timeline.Timeline
			if up := t.mu.slots[a]; branch && (up == nil || up.tl == nil) {
				continue
			} else if branch {
				parent = up.tl
			}
			delete(opened, id)
			started = true
			tl, err := o.Start(parent)
			if err == nil {
				t.mu.slots[id] = &slot{record: recordOf(tl), tl: tl}
				continue
			}
			r := record{id: id, name: o.Name(), ancestor: a, lsn: o.AncestorLSN()}
			if err := t.broke(ctx, r, true, errors.Join(err, o.Close())); err != nil {
				return err
			}
		}
	}
	for id, o := range opened {
		a, _ := o.Ancestor()
		delete(opened, id)
		err := fmt.Errorf("%w: timeline %s branches from %s, which is missing or descends from it", timeline.ErrCorrupt, id, a)
		if up := t.mu.slots[a]; up != nil && up.state == Broken {
			err = fmt.Errorf("timeline %s branches from %s, which is broken: %w", id, a, up.err)
		}
		if err := t.broke(ctx, record{id: id, name: o.Name(), ancestor: a, lsn: o.AncestorLSN()}, true, errors.Join(err, o.Close())); err != nil {
			return err
		}
	}
	return nil
}

// settle gives those timelines their places that have no folder, and has what they need of others kept.
func (t *Tenant) settle(ctx context.Context) error {
	for id, r := range t.records {
		switch r.word {
		case wordOffloaded:
			t.mu.slots[id] = &slot{record: r, state: Offloaded}
		case wordDetached:
			t.mu.slots[id] = &slot{record: r, state: Detached}
		case wordDeleting:
			t.mu.slots[id] = &slot{record: r, state: Deleting, err: errors.New("it is deleted further in the background")}
		case wordArchived:
			if t.mu.slots[id] == nil {
				if err := t.broke(ctx, r, true, fmt.Errorf("%w: folder %s is missing", timeline.ErrCorrupt, filepath.Join(t.dir, id.String()))); err != nil {
					return err
				}
			}
		}
	}
	for _, s := range t.mu.slots {
		t.keepLocked(s)
	}
	t.keepUnsettledLocked()
	return nil
}

// keepLocked has kept what a timeline needs that is not open and may be again.
func (t *Tenant) keepLocked(s *slot) {
	switch s.state {
	case Offloaded, Detached, Broken:
	default:
		return
	}
	if s.state != Broken || s.known {
		t.keepForLocked(&s.record)
		return
	}
	for _, other := range t.mu.slots {
		if other.tl != nil {
			other.tl.KeepAll()
		}
	}
}

// keepForLocked has kept what a branch needs of the next timeline above that is open.
func (t *Tenant) keepForLocked(r *record) {
	lsn, id := r.lsn, r.ancestor
	for range maxAncestors {
		up := t.mu.slots[id]
		if lsn == 0 || up == nil {
			return
		}
		if up.tl != nil {
			up.tl.KeepFor(r.id, lsn)
			return
		}
		lsn, id = min(lsn, up.lsn), up.ancestor
	}
}

// forgetLocked keeps nothing any more for a branch.
func (t *Tenant) forgetLocked(r *record) {
	id := r.ancestor
	for range maxAncestors {
		up := t.mu.slots[id]
		if up == nil {
			return
		}
		if up.tl != nil {
			up.tl.Forget(r.id)
			return
		}
		id = up.ancestor
	}
}

// setAside moves away what lies where only a store's own folders are, unless it has been moved there.
func (s *Store) setAside(path, reason string) {
	if filepath.Base(path) != virtualfile.SetAsideDir {
		s.env.SetAside(path, reason)
	}
}

// dropUnfinished removes a timeline that was never finished, or is not wanted any more.
func (s *Store) dropUnfinished(path string) error {
	if s.env.ReadOnly {
		return nil
	}
	if err := s.fs.RemoveAll(path); err != nil {
		return err
	}
	s.env.LeftOver(path, "the timeline was never finished, or its removal was not")
	return s.fs.SyncDir(filepath.Dir(path))
}

// removeFolder removes a timeline's folder, if there is one: it loses its name first, durably, so that what a crash leaves is no
// timeline.
func (t *Tenant) removeFolder(id page.TimelineID) error {
	s, path := t.store, filepath.Join(t.dir, id.String())
	temp := path + virtualfile.TempSuffix
	if err := s.fs.RemoveAll(timeline.ImportDir(t.dir, id)); err != nil {
		return err
	}
	if err := s.fs.RemoveAll(temp); err != nil {
		return err
	}
	if err := s.fs.Rename(path, temp); err != nil && !isMissing(err) {
		return err
	}
	if err := s.fs.SyncDir(t.dir); err != nil {
		return err
	}
	return s.fs.RemoveAll(temp)
}
