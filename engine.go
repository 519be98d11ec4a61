package strata

import (
	"context"
	"io"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

type (
	TimelineInfo = timeline.Info
	Events       = timeline.Events
	Metrics      = timeline.Metrics
)

type (
	Engine   struct{}
	Tenant   struct{}
	Timeline struct{}
)

func Open(ctx context.Context, o Options) (*Engine, error)                      { panic("skeleton") }
func (e *Engine) Close() error                                                  { panic("skeleton") }
func (e *Engine) Metrics() Metrics                                              { panic("skeleton") }
func (e *Engine) DefaultTenant(ctx context.Context) (*Tenant, error)            { panic("skeleton") }
func (e *Engine) Tenant(ctx context.Context, id page.TenantID) (*Tenant, error) { panic("skeleton") }
func (e *Engine) CreateTenant(ctx context.Context, id page.TenantID) (*Tenant, error) {
	panic("skeleton")
}
func (e *Engine) Tenants() []page.TenantID                                         { panic("skeleton") }
func (t *Tenant) ID() page.TenantID                                                { panic("skeleton") }
func (t *Tenant) Timeline(ctx context.Context, nameOrID string) (*Timeline, error) { panic("skeleton") }
func (t *Tenant) Timelines() []TimelineInfo                                        { panic("skeleton") }
func (t *Tenant) Create(ctx context.Context, o CreateOptions) (*Timeline, error)   { panic("skeleton") }
func (t *Tenant) Import(ctx context.Context, o ImportOptions) (*Timeline, ImportResult, error) {
	panic("skeleton")
}
func (t *Tenant) Branch(ctx context.Context, parent *Timeline, o BranchOptions) (*Timeline, error) {
	panic("skeleton")
}

func (tl *Timeline) Info() TimelineInfo                           { panic("skeleton") }
func (tl *Timeline) Layers() []layer.Desc                         { panic("skeleton") }
func (tl *Timeline) LastRecordLSN() page.LSN                      { panic("skeleton") }
func (tl *Timeline) PrevRecordLSN() page.LSN                      { panic("skeleton") }
func (tl *Timeline) DiskConsistentLSN() page.LSN                  { panic("skeleton") }
func (tl *Timeline) Put(ctx context.Context, b *page.Batch) error { panic("skeleton") }
func (tl *Timeline) Freeze(ctx context.Context) error             { panic("skeleton") }
func (tl *Timeline) Flush(ctx context.Context) error              { panic("skeleton") }
func (tl *Timeline) Get(ctx context.Context, k page.Key, lsn page.LSN) ([]byte, error) {
	panic("skeleton")
}
func (tl *Timeline) GetVectored(ctx context.Context, keys page.Set, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error {
	panic("skeleton")
}
func (tl *Timeline) Page(ctx context.Context, rel page.RelTag, block uint32, lsn page.LSN) ([]byte, error) {
	panic("skeleton")
}
func (tl *Timeline) ResolveLSN(ctx context.Context, lsn page.LSN) (page.LSN, error) {
	panic("skeleton")
}
func (tl *Timeline) Ingest(ctx context.Context, o IngestOptions) (IngestResult, error) {
	panic("skeleton")
}
func (tl *Timeline) BaseBackup(ctx context.Context, w io.Writer, o BaseBackupOptions) (BaseBackupResult, error) {
	panic("skeleton")
}

// WalkLayers calls fn for every layer file of the timeline with an open reader.
func (tl *Timeline) WalkLayers(ctx context.Context, fn func(r *layer.Reader, err error) error) error {
	panic("skeleton")
}
