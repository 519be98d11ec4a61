package strata

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratapg/strata/internal/tenant"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
)

type (
	// State is that of a timeline or of a tenant.
	State = tenant.State
	// TimelineStatus is what is known of a timeline, whatever its state.
	TimelineStatus = tenant.Status
	// TenantStatus is what is known of a tenant, or of a shard of it, whatever its state.
	TenantStatus = tenant.TenantStatus
	// TakeOverResult says what TakeOver did.
	TakeOverResult = timeline.TakeOverReport
	// ForebearResult says what RemoveForebears did.
	ForebearResult = tenant.ForebearReport
	// DetachOptions say how something is detached.
	DetachOptions = tenant.DetachOptions
)

// States. A tenant is StateAttaching, StateActive, StateStopping, StateDeleting or StateBroken.
const (
	// StateActive can be used.
	StateActive = tenant.Active
	// StateAttaching is being made of what remote storage has.
	StateAttaching = tenant.Attaching
	// StateCreating is being made, or imported.
	StateCreating = tenant.Creating
	// StateStopping is on its way to be closed, detached or offloaded.
	StateStopping = tenant.Stopping
	// StateDeleting is on its way out for good; what has stopped that is in the reason.
	StateDeleting = tenant.Deleting
	// StateBroken could not be opened; the reason says why. All others are as they were.
	StateBroken = tenant.Broken
	// StateOffloaded is archived, and in remote storage only.
	StateOffloaded = tenant.Offloaded
	// StateDetached is in remote storage only.
	StateDetached = tenant.Detached
	// StateImporting is an import that was interrupted; the same import with ImportOptions.Resume goes on with it.
	StateImporting = tenant.Importing
)

// TenantStatuses lists all tenants and their shards, whatever their states.
func (e *Engine) TenantStatuses() []TenantStatus { return e.store.TenantStatuses() }

// DetachTenant removes a tenant's local files, those of all its shards that are here. Remote storage keeps it, for another store
// to attach.
func (e *Engine) DetachTenant(ctx context.Context, id page.TenantID, o DetachOptions) error {
	shards := e.store.Shards(id)
	if len(shards) == 0 {
		_, err := e.store.Tenant(id)
		return err
	}
	defer e.backups.forgetTenant(id)
	var errs []error
	for _, s := range shards {
		errs = append(errs, e.store.DetachTenant(ctx, s, o))
	}
	return errors.Join(errs...)
}

// DeleteTenant removes a tenant with all its timelines for good, here and in remote storage; all of its shards have to be here. It
// returns once nothing of it is left. Once begun there is no way back: a deletion that has failed goes on when it is called again,
// and by itself when the store is opened again. ErrTenantNotFound says that it is gone.
func (e *Engine) DeleteTenant(ctx context.Context, id page.TenantID) error {
	defer e.backups.forgetTenant(id)
	shards := e.store.Shards(id)
	if len(shards) == 0 {
		return e.store.DeleteTenant(ctx, page.TenantShardID{Tenant: id})
	}
	var errs []error
	for _, s := range shards {
		errs = append(errs, e.store.DeleteTenant(ctx, s))
	}
	return errors.Join(errs...)
}

// TakeOver writes anew what is the timeline's shard's own of layers that it has of the shard which it was split from; in the background
// that happens once nothing else is to be compacted.
func (tl *Timeline) TakeOver(ctx context.Context) (TakeOverResult, error) {
	return tl.t.TakeOver(ctx, 0)
}

// RemoveForebears deletes from remote storage what no shard needs any more of those that the tenant was split from. An engine looks by
// itself every ten minutes.
func (t *Tenant) RemoveForebears(ctx context.Context) (ForebearResult, error) {
	return t.t.RemoveForebears(ctx)
}

// Statuses lists all timelines, whatever their states, by name.
func (t *Tenant) Statuses() []TimelineStatus { return t.t.Statuses() }

// Status gives what is known of a timeline, by its name or its id.
func (t *Tenant) Status(nameOrID string) (TimelineStatus, error) { return t.t.Status(nameOrID) }

// Delete removes a timeline for good, here and in remote storage, and returns once all of it is gone. All that branch from it
// must be deleted before (ErrHasBranches). One that is being imported is called off. Once begun there is no way back: a
// deletion that has failed goes on when it is called again, and by itself when the store is opened again. ErrTimelineNotFound says
// that it is gone.
func (t *Tenant) Delete(ctx context.Context, nameOrID string) error {
	defer t.backups.forgetGone(t)
	return t.t.Delete(ctx, nameOrID)
}

// Archive has a timeline be read and nothing else; Put and Branch give ErrArchived. All that branch from it must be archived. It
// returns once remote storage says so, if there is one. It may be repeated.
func (t *Tenant) Archive(ctx context.Context, nameOrID string) error {
	return t.t.Archive(ctx, nameOrID)
}

// Unarchive undoes Archive and Offload. What the timeline branches from must not be archived.
func (t *Tenant) Unarchive(ctx context.Context, nameOrID string) error {
	return t.t.Unarchive(ctx, nameOrID)
}

// Offload removes the local files of an archived timeline, once remote storage has all of it. All that branch from it must be
// offloaded or detached.
func (t *Tenant) Offload(ctx context.Context, nameOrID string) error {
	defer t.backups.forgetGone(t)
	return t.t.Offload(ctx, nameOrID)
}

// Detach removes a timeline's local files, once remote storage has all of it, which keeps it. All that branch from it must be
// detached or offloaded. What it branches from keeps what it needs. Engine.Attach brings it back.
func (t *Tenant) Detach(ctx context.Context, nameOrID string, o DetachOptions) error {
	defer t.backups.forgetGone(t)
	return t.t.Detach(ctx, nameOrID, o)
}

// stateCollector counts timelines and tenants by state at each scrape.
type stateCollector struct {
	engine             *Engine
	timelines, tenants *prometheus.Desc
}

func newStateCollector(e *Engine) *stateCollector {
	labels := prometheus.Labels{"store": e.Info().ID}
	return &stateCollector{e,
		prometheus.NewDesc("strata_timelines", "Timelines by state.", []string{"state"}, labels),
		prometheus.NewDesc("strata_tenants", "Tenants and shards by state.", []string{"state"}, labels)}
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.timelines
	out <- c.tenants
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(out chan<- prometheus.Metric) {
	var timelines, tenants [tenant.States]int
	for _, t := range c.engine.TenantStatuses() {
		tenants[t.State]++
		for s, n := range t.Timelines {
			timelines[s] += n
		}
	}
	for s := range tenant.States {
		out <- prometheus.MustNewConstMetric(c.timelines, gauge, float64(timelines[s]), s.String())
		out <- prometheus.MustNewConstMetric(c.tenants, gauge, float64(tenants[s]), s.String())
	}
}
