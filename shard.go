package strata

import (
	"context"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
)

// A tenant may be divided into shards (docs/design/sharding.md). Each is a Tenant of its own, in this store or in another
// one, with the same timelines, and each is given all of the WAL; it keeps the blocks that are dealt to it. A ShardSet
// reads them as if they were one.

// CreateShard makes a shard of a tenant; ErrTenantExists if it is here, or another that deals out keys in another way. A
// zero shard is CreateTenant.
func (e *Engine) CreateShard(ctx context.Context, id page.TenantID, shard page.ShardIdentity) (*Tenant, error) {
	return e.tenant(e.store.CreateShard(ctx, id, shard))
}

// Shard finds a shard of a tenant; ErrTenantNotFound if it is not here.
func (e *Engine) Shard(ctx context.Context, id page.TenantShardID) (*Tenant, error) {
	return e.tenant(e.store.Shard(id))
}

// Shards lists the shards of a tenant that are here, by number; a tenant without has one of index zero.
func (e *Engine) Shards(id page.TenantID) []page.TenantShardID { return e.store.Shards(id) }

// DefaultTenantID is the id of the tenant that the store was made with, sharded or not.
func (e *Engine) DefaultTenantID() page.TenantID { return e.store.File().DefaultTenant }

// ShardID names the tenant, or the shard of it.
func (t *Tenant) ShardID() page.TenantShardID { return t.t.ShardID() }

// Shard says which shard of its tenant it is; it is zero for a tenant that is not sharded.
func (t *Tenant) Shard() page.ShardIdentity { return t.t.Shard() }

var _ datadir.Sharded = (*Timeline)(nil)

// Shard says of which shard of its tenant the timeline is.
func (tl *Timeline) Shard() page.ShardIdentity { return tl.t.Shard() }
