package strata

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/internal/tenant"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Tenant is one tenant of a store: timelines with unique names.
type Tenant struct {
	t       *tenant.Tenant
	options *Options
	backups *backupCache
}

// ID is the tenant's id.
func (t *Tenant) ID() page.TenantID { return t.t.ID() }

// Timeline finds a timeline by its name or its id; ErrTimelineNotFound if there is none.
func (t *Tenant) Timeline(ctx context.Context, nameOrID string) (*Timeline, error) {
	return t.wrap(t.t.Timeline(nameOrID))
}

func (t *Tenant) wrap(tl *timeline.Timeline, err error) (*Timeline, error) {
	if err != nil {
		return nil, err
	}
	return &Timeline{tl, t.backups}, nil
}

// Timelines describes all active timelines, by name; Statuses lists those too that are not.
func (t *Tenant) Timelines() []TimelineInfo {
	tls := t.t.Timelines()
	out := make([]TimelineInfo, len(tls))
	for i, tl := range tls {
		out[i] = tl.Info()
	}
	return out
}

// defaultWALSegSize is PostgreSQL's default wal_segment_size.
const defaultWALSegSize = 16 << 20

// Create makes an empty timeline for embedders who Put themselves. Called again with an id and the same options it gives the
// timeline as it is, so that it may be repeated by whoever does not know how it went; so may Import and Branch.
func (t *Tenant) Create(ctx context.Context, o CreateOptions) (*Timeline, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.WALSegSize == 0 {
		o.WALSegSize = defaultWALSegSize
	}
	return t.wrap(t.t.Create(ctx, manifest.Meta{
		Name: o.Name, Timeline: o.ID, Version: o.Version, Flavour: o.Flavour, InitialLSN: o.InitialLSN,
		WALSegSize: o.WALSegSize, SystemID: o.SystemID, Checksums: o.Checksums, HintBits: o.HintBits || o.Checksums,
		RelDirs: relDirsFrom(o.RelDirs, o.InitialLSN),
	}))
}

// Bounds of wal_segment_size (access/xlog_internal.h).
const (
	minWALSegSize = 1 << 20
	maxWALSegSize = 1 << 30
)

// validate reports every fault at once.
func (o *CreateOptions) validate() error {
	errs := []error{manifest.CheckName(o.Name)}
	if !o.Version.Supported() {
		errs = append(errs, fmt.Errorf("CreateOptions.Version is %d: %w", o.Version, pg.ErrUnsupportedVersion))
	}
	if o.Flavour != pg.Stock && o.Flavour != pg.Neon {
		errs = append(errs, fmt.Errorf("CreateOptions.Flavour is %d: want pg.Stock or pg.Neon", o.Flavour))
	}
	if !o.RelDirs.Known() {
		errs = append(errs, fmt.Errorf("CreateOptions.RelDirs: no %s is known", o.RelDirs))
	}
	if s := o.WALSegSize; s != 0 && (s < minWALSegSize || s > maxWALSegSize || s&(s-1) != 0) {
		errs = append(errs, fmt.Errorf("CreateOptions.WALSegSize is %d: want a power of two from 1 MiB to 1 GiB", s))
	}
	if o.InitialLSN == page.InvalidLSN || !o.InitialLSN.Aligned() {
		errs = append(errs, fmt.Errorf("CreateOptions.InitialLSN is %s: want a multiple of 8 above 0", o.InitialLSN))
	}
	return errors.Join(errs...)
}

// free says whether a timeline of that name may be made, or is there already under that id.
func (t *Tenant) free(name string, id page.TimelineID) error {
	if t.options.ReadOnly {
		return fmt.Errorf("new timeline %s: %w", name, ErrReadOnly)
	}
	if err := manifest.CheckName(name); err != nil {
		return err
	}
	switch tl, err := t.t.Timeline(name); {
	case err == nil && tl.ID() == id:
		return nil
	case err == nil:
		return fmt.Errorf("%w: %q (id %s); choose another name", ErrTimelineExists, name, tl.ID())
	case errors.Is(err, ErrTimelineNotFound):
		return nil
	case t.isUnfinished(name):
		return nil
	default:
		return err
	}
}

// isUnfinished says whether a timeline is an import that was interrupted.
func (t *Tenant) isUnfinished(name string) bool {
	st, err := t.t.Status(name)
	return err == nil && st.State == tenant.Importing
}

// Branch makes a timeline that shares the history of parent up to an LSN and goes its own way from there. It
// copies nothing. What the branch relies on is made durable first.
func (t *Tenant) Branch(ctx context.Context, parent *Timeline, o BranchOptions) (*Timeline, error) {
	at := o.At
	if at == page.InvalidLSN {
		at = parent.LastRecordLSN()
	}
	return t.wrap(t.t.Branch(ctx, parent.t, o.Name, o.ID, at))
}
