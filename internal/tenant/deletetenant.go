package tenant

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/virtualfile"
)

// A tenant's deletion, step by step; a crash after any of them leaves one that goes on with the next start, or with the next call:
//
//  1. A file DELETED in the tenant's folder says so. There is no way back; no timelines are made any more.
//  2. Its timelines are deleted one by one, those that branch from others first.
//  3. The tenant is closed.
//  4. What is left in remote storage goes: what other writers have left, its manifest and heatmap; and, where no other shard has anything
//     there, what is left of those that it was split from. The generations go last: until then a writer that was replaced knows it.
//  5. The local folder goes.

// deletedFileName is the file that says that a tenant is being deleted:
//
//	strata deleted
//	tenant 3b1e…
//	crc32c 89abcdef
const (
	deletedFileName = "DELETED"
	deletedMagic    = "strata deleted"
)

func (s *Store) deletedPath(id page.TenantShardID) string {
	return filepath.Join(s.tenantDir(id), deletedFileName)
}

// isDeleted says whether a tenant's deletion has begun.
func (s *Store) isDeleted(id page.TenantShardID) (bool, error) {
	_, err := s.fs.Stat(s.deletedPath(id))
	if isMissing(err) {
		return false, nil
	}
	return err == nil, err
}

// DeleteTenant removes a tenant, or one of its shards, for good, here and in remote storage. It returns once all is gone; a deletion that
// has failed goes on when it is called again, or when the store is opened again.
func (s *Store) DeleteTenant(ctx context.Context, id page.TenantShardID) error {
	if err := s.deleteTenant(ctx, id); err != nil {
		return fmt.Errorf("delete tenant %s: %w", id, err)
	}
	return nil
}

func (s *Store) deleteTenant(ctx context.Context, id page.TenantShardID) error {
	if s.env.ReadOnly {
		return timeline.ErrReadOnly
	}
	select {
	case s.making <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.making }()
	t := s.tenantOf(id)
	if t == nil {
		return ErrTenantNotFound
	}
	if err := t.beDeleted(); err != nil {
		return err
	}
	text := sealText(fmt.Sprintf("%s\ntenant %s\n", deletedMagic, id))
	if err := virtualfile.WriteFileAtomic(s.fs, s.deletedPath(id), text); err != nil {
		return err // it may be found after a crash: there is no way back
	}
	if !t.isClosed() {
		if err := t.deleteTimelines(ctx); err != nil {
			return err
		}
	}
	if err := t.close(false); err != nil {
		s.env.Logger.Warn("a tenant that is deleted could not be closed well", "tenant", id, "err", err)
	}
	if s.env.Remote != nil {
		if err := t.emptyBucket(ctx); err != nil {
			return err
		}
	}
	if err := s.removeTenantFolder(id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.tenants, id)
	return nil
}

// beDeleted keeps timelines from being made.
func (t *Tenant) beDeleted() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.splitting {
		return fmt.Errorf("%w: it is being split", ErrNotActive)
	}
	t.mu.state, t.mu.err = Deleting, nil
	return nil
}

// deleteTimelines deletes all timelines, those first that nothing branches from.
func (t *Tenant) deleteTimelines(ctx context.Context) error {
	for {
		all := t.Statuses()
		if len(all) == 0 {
			return nil
		}
		parents := map[page.TimelineID]bool{}
		for i := range all {
			if a := all[i].Ancestor; a != nil {
				parents[*a] = true
			}
		}
		done := false
		for i := range all {
			if parents[all[i].ID] {
				continue
			}
			if err := t.Delete(ctx, all[i].ID.String()); err != nil && !errors.Is(err, ErrTimelineNotFound) {
				return err
			}
			done = true
		}
		if !done {
			return fmt.Errorf("%w: its timelines branch from each other in a circle", timeline.ErrCorrupt)
		}
	}
}

// emptyings is how often remote storage is looked at whether all has gone: a writer that was about to end may have put something.
const emptyings = 3

// emptyBucket removes all that remote storage has of a tenant without timelines.
func (t *Tenant) emptyBucket(ctx context.Context) error {
	env, p := t.store.env, t.place(page.TimelineID{})
	if valid, err := env.Validator().Validate(ctx, p, env.Generation(t.ShardID())); err != nil || !valid {
		return errors.Join(err, timeline.ErrStale)
	}
	prefixes := []string{p.TenantPrefix()}
	if last, err := t.isLastShard(ctx); err != nil {
		return err
	} else if last {
		forebears, err := t.forebears(ctx)
		if err != nil {
			return err
		}
		for _, f := range forebears {
			prefixes = append([]string{f.TenantPrefix()}, prefixes...)
		}
	}
	for _, prefix := range prefixes {
		if err := emptyPrefix(ctx, env.Remote, prefix); err != nil {
			return err
		}
	}
	return nil
}

// isLastShard says whether remote storage has nothing of any other shard that is no forebear.
func (t *Tenant) isLastShard(ctx context.Context) (bool, error) {
	if t.shard.Count == 0 {
		return false, nil
	}
	prefix := strings.TrimSuffix(upload.Place{Tenant: t.id}.TenantPrefix(), "/")
	for e, err := range t.store.env.Remote.List(ctx, prefix, remote.ListOptions{Delimited: true}) {
		if err != nil {
			return false, err
		}
		id, err := page.ParseTenantShardID(strings.TrimPrefix(strings.TrimSuffix(e.Prefix, "/"), "tenants/"))
		if err == nil && id.Tenant == t.id && id.Shard.Count >= t.shard.Count && id != t.ShardID() {
			return false, nil
		}
	}
	return true, nil
}

// emptyPrefix deletes all objects below a prefix, those last by which writers know their generations.
func emptyPrefix(ctx context.Context, store remote.Storage, prefix string) error {
	for range emptyings {
		var keys, leases []string
		for e, err := range store.List(ctx, prefix, remote.ListOptions{}) {
			if err != nil {
				return err
			}
			if upload.IsLease(strings.TrimPrefix(e.Key, prefix)) {
				leases = append(leases, e.Key)
			} else {
				keys = append(keys, e.Key)
			}
		}
		if len(keys)+len(leases) == 0 {
			return nil
		}
		for _, some := range [][]string{keys, leases} {
			if len(some) == 0 {
				continue
			}
			if err := store.Delete(ctx, some...); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("%w: somebody still puts objects below %s", timeline.ErrStale, prefix)
}

// resumeTenantDeletions goes on with what a former process has begun.
func (s *Store) resumeTenantDeletions() {
	for _, t := range s.allTenants() {
		if t.stateNow() != Deleting {
			continue
		}
		id := t.ShardID()
		_ = s.tasks.Go(func(ctx context.Context) { // closed otherwise
			for wait := firstDeletePause; ; wait = min(2*wait, longestDeletePause) {
				err := s.DeleteTenant(ctx, id)
				if err == nil || errors.Is(err, ErrTenantNotFound) || ctx.Err() != nil {
					return
				}
				s.env.Logger.Warn("a tenant is not deleted yet", "tenant", id, "err", err)
				if clock.Sleep(ctx, wait) != nil {
					return
				}
			}
		})
	}
}

func (t *Tenant) stateNow() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.state
}
