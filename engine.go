package strata

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/tenant"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/virtualfile"
)

// Engine is an open store.
type Engine struct {
	store   *tenant.Store
	options Options
	redo    redo
	backups *backupCache     // nil if none is kept
	remote  *remote.Measured // nil without remote storage
	closers []func() error   // in the order they are to be called
}

// Open opens the store in Options.Dir, and with it every timeline in it. A layer file that is missing, of
// the wrong size, or of another timeline makes its timeline StateBroken, for a reason that names it, or with Options.Strict is
// an error of Open. Close must be called.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	e := &Engine{options: o.withDefaults()}
	o = e.options
	compaction, err := o.Compaction.config()
	if err != nil {
		return nil, err
	}
	e.redo, err = openRedo(&o)
	if err != nil {
		return nil, err
	}
	storage, err := e.openRemote(ctx)
	if err != nil {
		return nil, errors.Join(err, e.redo.Close())
	}
	store, err := tenant.Open(ctx, tenant.Options{
		DefaultTenant:   o.Tenant,
		Isolate:         !o.Strict,
		RemoteURL:       e.options.Remote.URL,
		Generation:      o.Remote.Generation,
		Evict:           tenant.EvictConfig{Limits: o.Remote.Evict.EvictLimits, Period: o.Remote.Evict.Period},
		HeatmapPeriod:   o.Remote.HeatmapPeriod,
		Dir:             o.Dir,
		CreateIfMissing: o.CreateIfMissing,
		ReserveBytes:    o.DiskReserve,
		Config: timeline.Config{
			FS:                 o.FS,
			ReadOnly:           o.ReadOnly,
			AllowDamaged:       o.AllowDamaged,
			CheckpointDistance: o.CheckpointDistance,
			CheckpointTimeout:  o.CheckpointTimeout.d,
			MaxFrozen:          o.MaxFrozenLayers,
			RefuseOnFullDisk:   o.RefuseOnFullDisk,
			Pressure:           o.Pressure,
			Memory:             o.Memory,
			MaxOpenFiles:       o.MaxOpenFiles,
			MaxSnapshotAge:     o.MaxSnapshotAge,
			MaxHeldBytes:       o.MaxHeldBytes,
			IOMode:             o.IOMode,
			IOEngine:           o.IOEngine,
			ValidateIO:         o.ValidateIO,
			MinManifestRewrite: manifest.DefaultMinRewrite,
			ImageCompression:   o.ImageCompression,
			Unchecked:          o.NoChecksums,
			Compaction:         compaction,
			GC:                 o.GC.config(),
			Redoer:             e.redo.Redoer,
			Remote:             storage,
			Download:           o.Remote.Download,
			Upload:             o.Remote.Upload,
			Logger:             o.Logger,
			Events:             o.Events,
			Clock:              clock.System,
		},
	})
	if err == nil {
		e.store = store
		e.closers = append([]func() error{store.Close}, e.closers...)
	}
	if o.Redoer == nil {
		e.closers = append(e.closers, e.redo.Close)
	}
	if err == nil {
		err = e.openBackupCache()
	}
	if err == nil {
		err = e.register()
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Close writes what is in memory, so that opening again loses nothing, ends all background work and gives
// the store back. Timelines cannot be used afterwards. It may be called twice. An error may mean that what
// follows a timeline's DiskConsistentLSN was lost and has to be ingested again.
func (e *Engine) Close() error {
	var errs []error
	for _, c := range e.closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// Metrics gives the counters of the whole store since it was opened.
func (e *Engine) Metrics() Metrics { return e.store.Metrics() }

// SetIOMode changes Options.IOMode for layer files that are opened from now on; those that are open keep theirs.
func (e *Engine) SetIOMode(m virtualfile.Mode) error { return e.store.SetIOMode(m) }

// SetIOEngine changes Options.IOEngine for reads and writes that begin from now on; those under way go on as they began. It is
// an error, and changes nothing, where io_uring is asked for and not to be had.
func (e *Engine) SetIOEngine(k virtualfile.EngineKind) error { return e.store.SetIOEngine(k) }

// DefaultTenant gives the tenant that the store was made with.
func (e *Engine) DefaultTenant(ctx context.Context) (*Tenant, error) {
	return e.tenant(e.store.DefaultTenant())
}

// Tenant finds a tenant; ErrTenantNotFound if there is none of that id.
func (e *Engine) Tenant(ctx context.Context, id page.TenantID) (*Tenant, error) {
	return e.tenant(e.store.Tenant(id))
}

// CreateTenant makes a further tenant; ErrTenantExists if the id is taken.
func (e *Engine) CreateTenant(ctx context.Context, id page.TenantID) (*Tenant, error) {
	return e.tenant(e.store.CreateTenant(ctx, id))
}

func (e *Engine) tenant(t *tenant.Tenant, err error) (*Tenant, error) {
	if err != nil {
		return nil, err
	}
	return &Tenant{t: t, options: &e.options, backups: e.backups}, nil
}

// Tenants lists the ids of all tenants.
func (e *Engine) Tenants() []page.TenantID { return e.store.Tenants() }

// StoreInfo is what the store file says.
type StoreInfo struct {
	// ID is drawn at random when a store is made, in hex.
	ID string `json:"id"`
	// FormatVersion is the version of the store file.
	FormatVersion int `json:"format_version"`
	// Features by what a program may do that does not know them: anything, read, nothing.
	Compatible     []string `json:"compatible"`
	ReadCompatible []string `json:"read_compatible"`
	Incompatible   []string `json:"incompatible"`
}

// Info describes the store.
func (e *Engine) Info() StoreInfo {
	f := e.store.File()
	return StoreInfo{
		ID: fmt.Sprintf("%x", f.ID), FormatVersion: f.Version,
		Compatible: f.Compatible, ReadCompatible: f.ReadCompatible, Incompatible: f.Incompatible,
	}
}
