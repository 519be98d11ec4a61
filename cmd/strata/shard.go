package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
)

// wholeTimeline is a timeline with all of its cluster: one that is not sharded, or all shards of one.
type wholeTimeline interface {
	LastRecordLSN() page.LSN
	ResolveLSN(ctx context.Context, lsn page.LSN) (page.LSN, error)
	Ingest(ctx context.Context, o strata.IngestOptions) (strata.IngestResult, error)
	Flush(ctx context.Context) error
	BaseBackup(ctx context.Context, w io.Writer, o strata.BaseBackupOptions) (strata.BaseBackupResult, error)
}

// withWhole runs fn on the timeline that the flags name, of all the tenant's shards where there are some and none is chosen, and
// closes the store behind it.
func (f *storeFlags) withWhole(cmd *cobra.Command, o strata.Options, fn func(wholeTimeline) error) (err error) {
	engine, err := f.openEngine(cmd, o)
	if err != nil {
		return err
	}
	defer func() { err = andAlso(err, engine.Close()) }()
	id, err := f.shardID(engine)
	if err != nil {
		return err
	}
	if f.shard != "" || len(engine.Shards(id.Tenant)) < 2 {
		t, err := engine.Shard(cmd.Context(), id)
		if errors.Is(err, strata.ErrTenantNotFound) && f.shard == "" {
			if only := engine.Shards(id.Tenant); len(only) == 1 {
				t, err = engine.Shard(cmd.Context(), only[0])
			}
		}
		if err != nil {
			return err
		}
		tl, err := t.Timeline(cmd.Context(), f.timeline)
		if err != nil {
			return err
		}
		return fn(tl)
	}
	set, err := engine.ShardSet(cmd.Context(), id.Tenant)
	if err != nil {
		return err
	}
	tl, err := set.Timeline(cmd.Context(), f.timeline)
	if err != nil {
		return err
	}
	return fn(tl)
}

// stateAt resolves the LSN flag as openedTimeline.at does.
func stateAt(ctx context.Context, tl wholeTimeline, v lsnValue) (page.LSN, error) {
	if !v.set {
		return tl.LastRecordLSN(), nil
	}
	return tl.ResolveLSN(ctx, v.lsn)
}
