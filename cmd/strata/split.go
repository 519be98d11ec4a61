package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
)

func newSplit() *cobra.Command {
	var f storeFlags
	var o strata.SplitOptions
	c := &cobra.Command{
		Use:   "split --shards N",
		Short: "Divide a tenant into shards",
		Long: `Divides a tenant, or every shard of it that is in this store, so that the tenant has N shards: as many as now, times a power
of two. They share the layers that there are; compaction rewrites in time what of these is theirs. Each shard is a tenant of
its own from then on, which --shard chooses, is given all of the WAL, and keeps the pages that are dealt to it in stripes of
consecutive blocks. A split that was interrupted can be run again.`,
		Example: "  strata split --shards 4\n  strata ingest --wal /path/to/wal/archive  # into every shard\n  strata page --shard 0104 --rel 1663/5/16384 --block 2048",
		Args:    exactArgs(0),
	}
	f.register(c.Flags())
	c.Flags().Uint8Var(&o.Shards, "shards", 0, "how many shards the tenant is to have (required)")
	c.Flags().Uint32Var(&o.StripeSize, "stripe-size", 0, "blocks that stay together; default as now, or 2048; only a tenant of one shard can get another")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.Shards == 0 {
			return usageError{fmt.Errorf("split: --shards is required")}
		}
		return runSplit(cmd, f, o)
	}
	return c
}

func runSplit(cmd *cobra.Command, f storeFlags, o strata.SplitOptions) (err error) {
	start := time.Now()
	engine, err := f.openEngine(cmd, strata.Options{})
	if err != nil {
		return err
	}
	defer func() { err = andAlso(err, engine.Close()) }()
	id, err := f.shardID(engine)
	if err != nil {
		return err
	}
	shards, err := engine.Split(cmd.Context(), id.Tenant, o)
	if err != nil {
		return err
	}
	for _, t := range shards {
		fmt.Fprintf(cmd.ErrOrStderr(), "tenant %s: %s, %d timelines\n", t.ShardID(), t.Shard(), len(t.Timelines()))
	}
	return closing{name: "split"}.add("shards", len(shards)).seconds(start).write(cmd.OutOrStdout(), f.json)
}
