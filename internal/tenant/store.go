package tenant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stratapg/strata/internal/tasks"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

var (
	// ErrTenantNotFound says that a store has no tenant of that id.
	ErrTenantNotFound = errors.New("no such tenant")
	// ErrTenantExists says that the id is taken.
	ErrTenantExists = errors.New("tenant exists")
)

// Options say which store to open, and how. Env is what its timelines share.
type Options struct {
	Dir             string
	CreateIfMissing bool
	// ReserveBytes is the space that is held back for manifests on a full disk; 0 is none.
	ReserveBytes int64
	// DefaultTenant is that of a store that is made; zeros are replaced by a random one.
	DefaultTenant page.TenantID
	// RemoteURL is recorded as the place of Config.Remote.
	RemoteURL string
	// Generation is that of DefaultTenant's writer here, if it has none yet; 0 takes the next from the remote.
	Generation uint32
	// Evict says when layers leave the disk that remote storage has too.
	Evict EvictConfig
	// HeatmapPeriod is how often heatmaps are written; 0 is never.
	HeatmapPeriod time.Duration
	// Isolate opens the store even if timelines or tenants cannot be opened: those are Broken.
	Isolate bool
	Config  timeline.Config
}

// Store is an open store.
type Store struct {
	fs   virtualfile.FS
	dir  string
	file StoreFile
	lock io.Closer // nil if there is nothing to lock
	// generation is Options.Generation.
	generation uint32
	isolate    bool
	env        *timeline.Env

	mu struct {
		sync.Mutex
		tenants map[page.TenantShardID]*Tenant
		closed  bool
	}
	making   chan struct{} // a tenant is being made; holds one
	evicting chan struct{} // layers are being evicted; holds one
	fetching chan struct{} // layers of a tenant that is not attached are being fetched; holds one
	full     chan struct{} // something found the disk full; holds one
	tasks    *tasks.Group
	imports  importCounters
	closing  sync.Once
	closeErr error
}

// Open opens a store: store file, lock, and every timeline of every tenant.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	// What could not be written or synced once is not trusted again, by none of the store's parts.
	o.Config.FS = virtualfile.Sticky(o.Config.FS)
	s := &Store{fs: o.Config.FS, dir: o.Dir, generation: o.Generation, isolate: o.Isolate, making: make(chan struct{}, 1), evicting: make(chan struct{}, 1), fetching: make(chan struct{}, 1), full: make(chan struct{}, 1), tasks: tasks.New()}
	s.mu.tenants = map[page.TenantShardID]*Tenant{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.unlock())
		}
	}()
	if err := s.find(o.CreateIfMissing); err != nil {
		return nil, err
	}
	if err := s.takeLock(o.Config.ReadOnly); err != nil {
		return nil, err
	}
	if err := s.readOrCreate(o); err != nil {
		return nil, err
	}
	if err := s.file.Check(o.Config.ReadOnly); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(s.dir, storeFileName), err)
	}
	if err := s.noteRemote(&o); err != nil {
		return nil, fmt.Errorf("store %s: %w", s.dir, err)
	}
	if o.Config.Reserve, err = s.reserve(o); err != nil {
		return nil, fmt.Errorf("store %s: %w", s.dir, err)
	}
	o.Config.Scratch, o.Config.FullDisk = s.dir, s.noteFull
	if s.env, err = timeline.NewEnv(o.Config); err != nil {
		return nil, fmt.Errorf("store %s: %w", s.dir, err)
	}
	done := s.env.Opening()
	if err := s.openTenants(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", s.dir, err), s.closeTenants(), s.env.Close())
	}
	done()
	s.resume()
	if !o.Config.ReadOnly {
		s.resumeTenantDeletions()
	}
	if o.Config.Remote != nil && !o.Config.ReadOnly && o.Evict.Period > 0 {
		s.env.NoteUse()
		if err := s.tasks.Go(s.evictInBackground(o.Evict)); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if o.Config.Remote != nil && !o.Config.ReadOnly {
		if err := s.tasks.Go(s.removeForebearsInBackground); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if o.Config.Remote != nil && !o.Config.ReadOnly && o.HeatmapPeriod > 0 {
		if err := s.tasks.Go(s.writeHeatmaps(o.HeatmapPeriod)); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// find makes sure that there is a store in the directory, or that one may be made there. It changes nothing
// but to make the directory.
func (s *Store) find(create bool) error {
	_, err := s.fs.Stat(filepath.Join(s.dir, storeFileName))
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return err
	}
	st, err := s.fs.Stat(s.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		return s.fs.MkdirAll(s.dir)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: directory %s does not exist", ErrNotAStore, s.dir)
	case err != nil:
		return err
	case !st.IsDir:
		return fmt.Errorf("%w: %s is no directory", ErrNotAStore, s.dir)
	case !create:
		return fmt.Errorf("%w: directory %s has no file %s", ErrNotAStore, s.dir, storeFileName)
	}
	return s.checkUnused()
}

// checkUnused refuses to make a store in a directory that holds anything but the beginnings of one.
func (s *Store) checkUnused() error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if n == lockFileName || n == storeFileName+virtualfile.TempSuffix || n == tenantsName && s.noTimelines() == nil {
			continue
		}
		return fmt.Errorf("%w: directory %s is not empty (it has %s); a new store needs one that is", ErrNotAStore, s.dir, n)
	}
	return nil
}

// noTimelines reports an error if there is any timeline, or anything else that a new store has not.
func (s *Store) noTimelines() error {
	tenants, err := s.fs.List(filepath.Join(s.dir, tenantsName))
	for _, t := range tenants {
		dir := filepath.Join(s.dir, tenantsName, t)
		names, err := s.fs.List(dir)
		if err != nil || len(names) > 0 && !slices.Equal(names, []string{timelinesName}) {
			return fmt.Errorf("%s is no new tenant: %w", dir, err)
		}
		if len(names) == 0 {
			continue
		}
		if names, err = s.fs.List(filepath.Join(dir, timelinesName)); err != nil || len(names) > 0 {
			return fmt.Errorf("%s is no new tenant: %w", dir, err)
		}
	}
	return err
}

func (s *Store) takeLock(readOnly bool) (err error) {
	path := filepath.Join(s.dir, lockFileName)
	if readOnly {
		// Where there is no lock file nobody has ever written, as in a copy of a store.
		if s.lock, err = s.fs.LockShared(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	} else {
		s.lock, err = s.fs.Lock(path)
	}
	if errors.Is(err, virtualfile.ErrLocked) {
		return fmt.Errorf("store %s is in use by another process; stop that one first: %w", s.dir, err)
	}
	return err
}

// readOrCreate reads the store file, or makes a new store. The lock is held.
func (s *Store) readOrCreate(o Options) (err error) {
	s.file, err = readStoreFile(s.fs, s.dir)
	if !errors.Is(err, fs.ErrNotExist) || !o.CreateIfMissing {
		return err
	}
	if err := s.checkUnused(); err != nil {
		return err
	}
	if err := s.fs.SyncDir(filepath.Dir(filepath.Clean(s.dir))); err != nil {
		return err
	}
	s.file = newStoreFile()
	if o.DefaultTenant != (page.TenantID{}) {
		s.file.DefaultTenant = o.DefaultTenant
	}
	if err := s.fs.RemoveAll(filepath.Join(s.dir, tenantsName)); err != nil {
		return err
	}
	if err := s.makeTenantDir(page.TenantShardID{Tenant: s.file.DefaultTenant}); err != nil {
		return err
	}
	// The store file comes last: what has one is whole.
	return virtualfile.WriteFileAtomic(s.fs, filepath.Join(s.dir, storeFileName), s.file.Encode())
}

// reserve takes the space that a full disk leaves for manifests.
func (s *Store) reserve(o Options) (*virtualfile.Reserve, error) {
	if o.Config.ReadOnly || o.ReserveBytes == 0 {
		return nil, nil
	}
	r, err := virtualfile.NewReserve(s.fs, filepath.Join(s.dir, reserveName), o.ReserveBytes)
	if err == nil && r.Held() == 0 {
		o.Config.Logger.Warn("the disk is too full for the reserve that manifests would need", "store", s.dir, "bytes", o.ReserveBytes)
	}
	return r, err
}

func (s *Store) tenantDir(id page.TenantShardID) string {
	return filepath.Join(s.dir, tenantsName, id.String())
}

// makeTenantDir makes a tenant's folders, durably.
func (s *Store) makeTenantDir(id page.TenantShardID) error {
	dir := s.tenantDir(id)
	if err := s.fs.MkdirAll(filepath.Join(dir, timelinesName)); err != nil {
		return err
	}
	for _, d := range []string{dir, filepath.Dir(dir), s.dir} {
		if err := s.fs.SyncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// keep makes the entries of folders durable, which the process that made them may not have come to do: what is
// written into them from now on is to be found after a crash. A store that is only read leaves that.
func (s *Store) keep(dirs ...string) error {
	if s.env.ReadOnly {
		return nil
	}
	for _, d := range dirs {
		if err := s.fs.SyncDir(d); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) openTenants(ctx context.Context) error {
	if err := s.keep(s.dir, filepath.Join(s.dir, tenantsName)); err != nil {
		return err
	}
	names, err := s.fs.List(filepath.Join(s.dir, tenantsName))
	if err == nil {
		names, err = s.settleSplits(names)
	}
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasSuffix(n, virtualfile.TempSuffix) {
			if err := s.dropUnfinished(filepath.Join(s.dir, tenantsName, n)); err != nil {
				return err
			}
			continue
		}
		id, err := page.ParseTenantShardID(n)
		if err != nil || id.String() != n {
			s.setAside(filepath.Join(s.dir, tenantsName, n), "no tenant's folder")
			continue
		}
		if drop, err := s.unfinished(id); drop || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		t, err := s.openTenant(ctx, id)
		if err != nil && (!s.isolate || ctx.Err() != nil) {
			return err
		}
		if err != nil {
			s.env.Logger.Error("a tenant is broken; others are not", "tenant", id, "err", err)
			t = newTenant(s, id.Tenant, page.ShardIdentity{ShardIndex: id.Shard})
			t.mu.state, t.mu.err = Broken, err
		}
		if id.Shard.Count > 0 && !s.env.ReadOnly { // a store that was written before there was the feature may lack it
			if err := s.needShards(); err != nil {
				return err
			}
		}
		s.mu.tenants[id] = t
	}
	if len(s.shardsLocked(s.file.DefaultTenant)) == 0 && !s.detachedDefault() {
		return fmt.Errorf("%w: directory %s of the default tenant is missing", timeline.ErrCorrupt, s.tenantDir(page.TenantShardID{Tenant: s.file.DefaultTenant}))
	}
	return nil
}

// ID is the store's identity, drawn when it was made.
func (s *Store) ID() [16]byte { return s.file.ID }

// File gives what the store file says.
func (s *Store) File() StoreFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file
}

// Metrics gives the counters of all timelines.
func (s *Store) Metrics() timeline.Metrics { return s.env.Metrics() }

// SetIOMode changes the mode of layer files that are opened from now on.
func (s *Store) SetIOMode(m virtualfile.Mode) error { return s.env.Disk.SetMode(m) }

// SetIOEngine changes how reads and writes that begin from now on reach the kernel.
func (s *Store) SetIOEngine(k virtualfile.EngineKind) error { return s.env.Disk.SetEngine(k) }

// DefaultTenant is the tenant that the store was made with.
func (s *Store) DefaultTenant() (*Tenant, error) { return s.Tenant(s.file.DefaultTenant) }

// Tenant finds a tenant that is not sharded.
func (s *Store) Tenant(id page.TenantID) (*Tenant, error) {
	return s.Shard(page.TenantShardID{Tenant: id})
}

// Shard finds a tenant's shard.
func (s *Store) Shard(id page.TenantShardID) (*Tenant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return nil, fmt.Errorf("store %s: %w", s.dir, timeline.ErrClosed)
	}
	if t := s.mu.tenants[id]; t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.mu.state == Broken {
			return nil, fmt.Errorf("store %s: tenant %s: %w: %w", s.dir, id, ErrBroken, t.mu.err)
		}
		return t, nil
	}
	if shards := s.shardsLocked(id.Tenant); len(shards) > 0 {
		return nil, fmt.Errorf("store %s: %w: %s; there are its shards %v", s.dir, ErrTenantNotFound, id, shards)
	}
	return nil, fmt.Errorf("store %s: %w: %s", s.dir, ErrTenantNotFound, id)
}

// Tenants lists the tenants by id.
func (s *Store) Tenants() []page.TenantID {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]page.TenantID, 0, len(s.mu.tenants))
	for id := range s.mu.tenants {
		ids = append(ids, id.Tenant)
	}
	slices.SortFunc(ids, func(a, b page.TenantID) int { return strings.Compare(string(a[:]), string(b[:])) })
	return slices.Compact(ids)
}

// CreateTenant makes a tenant without timelines and without shards, durably.
func (s *Store) CreateTenant(ctx context.Context, id page.TenantID) (*Tenant, error) {
	return s.CreateShard(ctx, id, page.ShardIdentity{})
}

// CreateShard makes a shard of a tenant without timelines, durably.
func (s *Store) CreateShard(ctx context.Context, tenant page.TenantID, shard page.ShardIdentity) (*Tenant, error) {
	id := page.TenantShardID{Tenant: tenant, Shard: shard.ShardIndex}
	if s.env.ReadOnly {
		return nil, fmt.Errorf("store %s: %w", s.dir, timeline.ErrReadOnly)
	}
	select {
	case s.making <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.making }()
	switch _, err := s.Shard(id); {
	case err == nil:
		return nil, fmt.Errorf("store %s: %w: %s", s.dir, ErrTenantExists, id)
	case !errors.Is(err, ErrTenantNotFound):
		return nil, err
	}
	if err := s.checkShard(tenant, shard); err != nil {
		return nil, fmt.Errorf("new tenant %s: %w", id, err)
	}
	if err := s.makeShardDir(tenant, shard); err != nil {
		return nil, fmt.Errorf("new tenant %s: %w", id, err)
	}
	if err := s.undetach(tenant); err != nil {
		return nil, fmt.Errorf("new tenant %s: %w", id, err)
	}
	if err := s.openGeneration(ctx, id); err != nil {
		return nil, fmt.Errorf("new tenant %s: %w", id, err)
	}
	t := newTenant(s, tenant, shard)
	if shard.Count > 0 {
		if err := t.writeManifest(ctx); err != nil {
			return nil, fmt.Errorf("new tenant %s: %w", id, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.tenants[id] = t
	return t, nil
}

// Close writes what is in memory, closes everything and gives the lock back. It may be called twice.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.mu.closed = true
		s.mu.Unlock()
		s.tasks.Stop()
		s.closeErr = errors.Join(s.closeTenants(), s.env.Close(), s.unlock())
	})
	return s.closeErr
}

func (s *Store) closeTenants() error {
	s.mu.Lock()
	tenants := make([]*Tenant, 0, len(s.mu.tenants))
	for _, t := range s.mu.tenants {
		tenants = append(tenants, t)
	}
	s.mu.Unlock()
	var errs []error
	for _, t := range tenants {
		errs = append(errs, t.close(true))
	}
	return errors.Join(errs...)
}

func (s *Store) unlock() error {
	if s.lock == nil {
		return nil
	}
	l := s.lock
	s.lock = nil
	return l.Close()
}
