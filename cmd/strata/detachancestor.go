package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
)

func newDetachAncestor() *cobra.Command {
	var f storeFlags
	c := &cobra.Command{
		Use:   "detach-ancestor TIMELINE",
		Short: "Make a branch independent of the timeline that it branches from",
		Long: `Gives TIMELINE, by name or id, the layers that it needs of the timeline that it branches from, which must be no branch itself, and
makes it a timeline without ancestor: the other one may then be deleted. Timelines that branch from the same ancestor at or
below the same LSN branch from TIMELINE afterwards; of those only that are not offloaded or detached. Nothing is
downloaded but layers that reach over the branch LSN; remote storage copies the others by itself. All timelines read the
same before and after. A run that was interrupted can be repeated; what then is left to do may be done already when the store
is opened. Of a tenant with shards every shard is detached that is in this store, or the one that --shard chooses.`,
		Example: "  strata branch --at 0/16B3748 restored\n  strata detach-ancestor restored\n  strata delete main",
		Args:    exactArgs(1),
	}
	f.register(c.Flags())
	c.RunE = func(cmd *cobra.Command, args []string) error { return runDetachAncestor(cmd, f, args[0]) }
	return c
}

func runDetachAncestor(cmd *cobra.Command, f storeFlags, nameOrID string) (err error) {
	start := time.Now()
	engine, tenants, err := f.openShards(cmd)
	if err != nil {
		return err
	}
	defer func() { err = andAlso(err, engine.Close()) }()
	var d strata.DetachedAncestor
	layers := 0
	for _, t := range tenants {
		var here atomic.Int64
		o := strata.DetachAncestorOptions{Progress: func(p strata.DetachAncestorProgress) { here.Store(int64(p.Layers)) }}
		if d, err = t.DetachAncestor(cmd.Context(), nameOrID, o); err != nil {
			return err
		}
		layers += int(here.Load())
		for _, id := range d.Reparented {
			fmt.Fprintf(cmd.ErrOrStderr(), "tenant %s: timeline %s branches from %s now\n", t.ShardID(), id, nameOrID)
		}
	}
	return closing{name: "detach-ancestor"}.add("ancestor", d.Ancestor).add("lsn", d.LSN).add("layers", layers).
		add("reparented", len(d.Reparented)).seconds(start).write(cmd.OutOrStdout(), f.json)
}

// openShards opens a store for writing, with all shards of the tenant that are in it, or the one that is chosen.
func (f *storeFlags) openShards(cmd *cobra.Command) (_ *strata.Engine, _ []*strata.Tenant, err error) {
	engine, err := f.openEngine(cmd, strata.Options{})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = andAlso(err, engine.Close())
		}
	}()
	id, err := f.shardID(engine)
	if err != nil {
		return nil, nil, err
	}
	ids := []page.TenantShardID{id}
	if f.shard == "" {
		if ids = engine.Shards(id.Tenant); len(ids) == 0 {
			return nil, nil, fmt.Errorf("%w: %s", strata.ErrTenantNotFound, id)
		}
	}
	var tenants []*strata.Tenant
	for _, id := range ids {
		t, err := engine.Shard(cmd.Context(), id)
		if err != nil {
			return nil, nil, err
		}
		tenants = append(tenants, t)
	}
	return engine, tenants, nil
}
