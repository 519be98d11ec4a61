package tenant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/virtualfile"
)

// ErrOnlyHere says that what is to leave the local disk is nowhere else.
var ErrOnlyHere = errors.New("it is nowhere but on the local disk")

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// DetachOptions say how something is detached.
type DetachOptions struct {
	// Discard gives up what is not in remote storage yet. Without it the detachment waits until all is.
	Discard bool
}

// Detach removes a timeline's local files; remote storage keeps it. All that branch from it must be detached or offloaded. What a
// branch needs of its ancestors is kept here until it is attached again, or deleted.
func (t *Tenant) Detach(ctx context.Context, nameOrID string, o DetachOptions) error {
	return t.change(ctx, "detach", nameOrID, func(s *slot) error {
		state, tl := t.stateOf(s)
		switch {
		case state == Detached, state == Offloaded:
			return nil
		case state == Stopping && s.word == wordDetached: // its files are to go, and could not
		case state == Broken && o.Discard && t.store.env.Remote != nil:
			if err := t.lookUp(ctx, s); err != nil {
				return err
			}
		case state == Importing, state == Creating && t.isImporting(s):
			return t.detachImport(ctx, s, o)
		case state != Active:
			return s.unusable()
		}
		if err := t.branchesOf(s, func(c *slot) bool { return c.state == Offloaded || c.state == Detached }); err != nil {
			return fmt.Errorf("%w: detach them first", err)
		}
		if o.Discard && tl != nil {
			tl.Seal(fmt.Errorf("%w: it is being detached", ErrNotActive))
			if err := tl.Abandon(); err != nil {
				return err
			}
		}
		return t.leave(ctx, s, tl, wordDetached, Detached)
	})
}

// leave takes a timeline off the local disk: once remote storage has all of it, it is closed, its new state is recorded, and its
// folder goes. Once it is closed an error leaves it Stopping: the call can be repeated, and the next start finds the state
// before it or the one after.
func (t *Tenant) leave(ctx context.Context, s *slot, tl *timeline.Timeline, word string, state State) error {
	if t.store.env.Remote == nil {
		return fmt.Errorf("%w: delete it, if it is to go", ErrOnlyHere)
	}
	if tl != nil {
		if err := t.drain(ctx, s, tl); err != nil {
			return err
		}
	}
	r := s.record
	r.word = word
	err := t.record(r)
	if err == nil {
		err = t.removeFolder(s.id)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.record, s.err = r, err
	if err != nil {
		s.state = Stopping
		return err
	}
	s.state = state
	return nil
}

// lookUp finds out from remote storage what a broken timeline branches from.
func (t *Tenant) lookUp(ctx context.Context, s *slot) error {
	part, _, err := upload.Load(ctx, t.store.env.Remote, t.place(s.id), t.store.env.Generation(t.ShardID()))
	if errors.Is(err, remote.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrOnlyHere, err)
	}
	if err != nil {
		return err
	}
	t.set(s, func() {
		s.known, s.archived = true, part.ArchivedAt
		if a := part.Metadata.Ancestor; a != nil {
			s.ancestor, s.lsn = *a, part.Metadata.AncestorLSN
			t.keepForLocked(&s.record)
		}
	})
	return nil
}

// drain closes a timeline once remote storage has all of it.
func (t *Tenant) drain(ctx context.Context, s *slot, tl *timeline.Timeline) error {
	tl.Seal(fmt.Errorf("%w: it is leaving the local disk", ErrNotActive))
	err := tl.Flush(ctx)
	if errors.Is(err, timeline.ErrClosed) {
		err = nil // it was discarded
	} else if err == nil {
		err = tl.WaitUploads(ctx)
	}
	if err != nil {
		tl.Seal(nil)
		return fmt.Errorf("%w; discard what is here if it is not wanted", err)
	}
	t.set(s, func() { s.state = Stopping })
	err = tl.CloseBy(ctx)
	t.set(s, func() {
		s.tl = nil
		t.keepForLocked(&s.record)
	})
	if err != nil { // all is in remote storage
		t.store.env.Logger.Warn("a timeline could not be closed well before its files go", "timeline", s.label(), "err", err)
	}
	return nil
}

// DetachTenant removes a tenant's local files; remote storage keeps it, for another store to attach.
func (s *Store) DetachTenant(ctx context.Context, id page.TenantShardID, o DetachOptions) error {
	if err := s.detachTenant(ctx, id, o); err != nil {
		return fmt.Errorf("detach tenant %s: %w", id, err)
	}
	return nil
}

func (s *Store) detachTenant(ctx context.Context, id page.TenantShardID, o DetachOptions) error {
	if s.env.ReadOnly {
		return timeline.ErrReadOnly
	}
	if s.env.Remote == nil {
		return ErrOnlyHere
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
	if closed := t.isClosed(); !closed && !o.Discard {
		if err := t.keepImports(ctx); err != nil {
			return err
		}
		if err := t.drainAll(ctx); err != nil {
			return err
		}
	}
	if err := t.close(!o.Discard); err != nil && !o.Discard {
		s.env.Logger.Warn("a tenant that is detached could not be closed well; remote storage has all of it", "tenant", id, "err", err)
	}
	if err := s.removeTenantFolder(id); err != nil {
		return err // it stays Stopping; the call can be repeated
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.tenants, id)
	return nil
}

// tenantOf finds a tenant in whatever state.
func (s *Store) tenantOf(id page.TenantShardID) *Tenant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.tenants[id]
}

// drainAll waits until remote storage has all of a tenant, to which nothing is put any more.
func (t *Tenant) drainAll(ctx context.Context) (err error) {
	reason := fmt.Errorf("%w: its tenant is being detached", ErrNotActive)
	open := t.Timelines()
	defer func() {
		if err != nil {
			for _, tl := range open {
				tl.Seal(nil)
			}
		}
	}()
	for _, tl := range open {
		tl.Seal(reason)
	}
	for _, tl := range open {
		if err := tl.Flush(ctx); err != nil && !errors.Is(err, timeline.ErrClosed) {
			return err
		}
		if err := tl.WaitUploads(ctx); err != nil {
			return fmt.Errorf("%w; discard what is here if it is not wanted", err)
		}
	}
	return nil
}

// removeTenantFolder removes a tenant's folder; it loses its name first, durably.
func (s *Store) removeTenantFolder(id page.TenantShardID) error {
	path := s.tenantDir(id)
	temp := path + virtualfile.TempSuffix
	if id.Tenant == s.file.DefaultTenant && len(s.Shards(id.Tenant)) <= 1 {
		if err := virtualfile.WriteFileAtomic(s.fs, filepath.Join(s.dir, detachedFileName), detachedFile(id.Tenant)); err != nil {
			return err
		}
	}
	if err := s.fs.RemoveAll(temp); err != nil {
		return err
	}
	if err := s.fs.Rename(path, temp); err != nil && !isMissing(err) {
		return err
	}
	if err := s.fs.SyncDir(filepath.Dir(path)); err != nil {
		return err
	}
	return s.fs.RemoveAll(temp)
}

// A store whose default tenant is detached has a file DETACHED, so that its folder is not missed:
//
//	strata detached
//	tenant 3b1e…
//	crc32c 89abcdef
const (
	detachedFileName = "DETACHED"
	detachedMagic    = "strata detached"
)

func detachedFile(id page.TenantID) []byte {
	return sealText(fmt.Sprintf("%s\ntenant %s\n", detachedMagic, id))
}

// detachedDefault says whether the default tenant is detached.
func (s *Store) detachedDefault() bool {
	b, err := virtualfile.ReadFile(s.fs, filepath.Join(s.dir, detachedFileName), maxStoreFileSize)
	return err == nil && string(b) == string(detachedFile(s.file.DefaultTenant))
}

// undetach takes the file away, if there is one: the tenant has a folder again.
func (s *Store) undetach(id page.TenantID) error {
	if id != s.file.DefaultTenant || !s.detachedDefault() {
		return nil
	}
	if err := s.fs.Remove(filepath.Join(s.dir, detachedFileName)); err != nil && !isMissing(err) {
		return err
	}
	return s.fs.SyncDir(s.dir)
}
