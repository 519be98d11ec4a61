package main

import (
	"context"
	"errors"
	"fmt"
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

// takeOver has a shard's timeline take over what it has of the shard that it was split from, and counts that among what a compaction did.
func takeOver(cmd *cobra.Command, tl *openedTimeline, r *strata.CompactResult) error {
	if tl.Shard().Count == 0 {
		return nil
	}
	own, err := tl.TakeOver(cmd.Context())
	r.BytesRead, r.BytesWritten, r.Layers = r.BytesRead+own.BytesIn, r.BytesWritten+own.BytesOut, r.Layers-own.Dropped
	if err != nil {
		return err
	}
	if own.Layers+own.Dropped == 0 {
		return nil
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "compact: %d layers of the shard that this one was split from were taken over, %d had nothing of this one's\n", own.Layers, own.Dropped)
	if err := tl.WaitUploads(cmd.Context()); err != nil {
		return err
	}
	_, err = tl.tenant.RemoveForebears(cmd.Context())
	return err
}
