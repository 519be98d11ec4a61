package strata

import (
	"context"
	"fmt"

	"github.com/stratapg/strata/internal/tenant"
	"github.com/stratapg/strata/page"
)

// SplitOptions say into what a tenant is split: Shards is how many it then has, as many as now times a power of two;
// StripeSize is that of the shards in pages, 0 leaves it, and only a tenant of one shard can get another.
type SplitOptions = tenant.SplitOptions

// Split makes of every shard of a tenant that is in this store (or of the tenant, if it is not sharded) those that have its
// keys when the tenant has Shards of them. They share the layers that there are, so that it takes no longer than to write what is
// in memory, and compaction rewrites what of these is theirs. The tenant is read as before until its shards are there; what is put
// is refused from a little before that, and its timelines are ErrClosed afterwards. A process that ends in between leaves
// each tenant or shard as it was, or all that it is split into; Split may then be called again. It gives all shards that
// are here now.
func (e *Engine) Split(ctx context.Context, id page.TenantID, o SplitOptions) ([]*Tenant, error) {
	shards := e.Shards(id)
	if len(shards) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrTenantNotFound, id)
	}
	split := false
	for _, x := range shards {
		if x.Shard.Count == o.Shards { // split by a call before this one
			continue
		}
		if _, err := e.store.Split(ctx, x, o); err != nil {
			return nil, err
		}
		split = true
	}
	if !split {
		return nil, fmt.Errorf("tenant %s has %d shards already", id, o.Shards)
	}
	var out []*Tenant
	for _, x := range e.Shards(id) {
		t, err := e.Shard(ctx, x)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}
