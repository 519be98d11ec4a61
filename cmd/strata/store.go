package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/remoteurl"
)

// storeFlags are the flags of every command that works on a store.
type storeFlags struct {
	dir      string
	timeline string
	tenant   string
	shard    string
	remote   string
	json     bool
	redo     readRedo // the default, unless the command registers its flags
}

func (f *storeFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.dir, "store", "./strata-data", "directory of the store")
	fs.StringVar(&f.timeline, "timeline", "main", "timeline, by name or id")
	fs.StringVar(&f.tenant, "tenant", "", "tenant, by id; default the one that the store was made with")
	fs.StringVar(&f.shard, "shard", "", "shard of the tenant, number and count as 0104; needed where it has more than one")
	fs.StringVar(&f.remote, "remote", "", "URL of the remote storage, file:///dir or s3://bucket/prefix?endpoint=…; default the one that the store has recorded, if any")
	fs.BoolVar(&f.json, "json", false, "print the closing line as one JSON object, and nothing else on stdout")
}

// openedTimeline is a timeline with the engine that must be closed behind it.
type openedTimeline struct {
	*strata.Timeline
	tenant *strata.Tenant
	engine *strata.Engine
}

// open opens the store and the timeline. The caller closes it with closeEngine.
func (f *storeFlags) open(cmd *cobra.Command, o strata.Options) (*openedTimeline, error) {
	ctx := cmd.Context()
	engine, tenant, err := f.openTenant(cmd, o)
	if err != nil {
		return nil, err
	}
	tl, err := tenant.Timeline(ctx, f.timeline)
	if err != nil {
		return nil, errors.Join(err, engine.Close())
	}
	return &openedTimeline{tl, tenant, engine}, nil
}

func (f *storeFlags) openTenant(cmd *cobra.Command, o strata.Options) (*strata.Engine, *strata.Tenant, error) {
	engine, err := f.openEngine(cmd, o)
	if err != nil {
		return nil, nil, err
	}
	id, err := f.shardID(engine)
	if err != nil {
		return nil, nil, errors.Join(err, engine.Close())
	}
	tenant, err := engine.Shard(cmd.Context(), id)
	if err != nil {
		return nil, nil, errors.Join(err, engine.Close())
	}
	return engine, tenant, nil
}

// openEngine opens the store alone.
func (f *storeFlags) openEngine(cmd *cobra.Command, o strata.Options) (*strata.Engine, error) {
	o.Dir = f.dir
	var err error
	if o.Redo, err = f.redo.options(); err != nil {
		return nil, err
	}
	o.Logger = warnings(cmd)
	o.Remote.URL, o.Remote.Open = f.remote, openRemote
	if _, err := f.tenantID(); err != nil {
		return nil, err
	}
	return strata.Open(cmd.Context(), o)
}

// shardID is the tenant, or the shard of it, that is meant.
func (f *storeFlags) shardID(engine *strata.Engine) (id page.TenantShardID, err error) {
	if id.Tenant, err = f.tenantID(); err != nil {
		return id, err
	}
	if f.tenant == "" {
		id.Tenant = engine.DefaultTenantID()
	}
	if f.shard != "" {
		if id.Shard, err = page.ParseShardIndex(f.shard); err != nil {
			err = usageError{err}
		}
	}
	return id, err
}

// openRemote opens remote storage by its URL. What fails on the way there is tried again.
func openRemote(ctx context.Context, url string) (remote.Storage, error) {
	s, err := remoteurl.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	return remote.Retry(s, remote.RetryOptions{}), nil
}

func (f *storeFlags) tenantID() (id page.TenantID, err error) {
	if f.tenant != "" {
		if id, err = page.ParseTenantID(f.tenant); err != nil {
			err = usageError{err}
		}
	}
	return id, err
}

// warnings is what an operator should see: on stderr, nothing below a warning.
func warnings(cmd *cobra.Command) *slog.Logger {
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// withTimeline runs fn on the timeline and closes the store behind it, joining its error.
func (f *storeFlags) withTimeline(cmd *cobra.Command, o strata.Options, fn func(*openedTimeline) error) (err error) {
	tl, err := f.open(cmd, o)
	if err != nil {
		return err
	}
	defer func() { err = andAlso(err, tl.engine.Close()) }()
	return fn(tl)
}

// readOnly are the options of commands that change nothing.
var readOnly = strata.Options{ReadOnly: true}

// at resolves the LSN flag: the end of the last whole record at or before it, or the timeline's last.
func (t *openedTimeline) at(ctx context.Context, v lsnValue) (page.LSN, error) {
	if !v.set {
		return t.LastRecordLSN(), nil
	}
	return t.ResolveLSN(ctx, v.lsn)
}
