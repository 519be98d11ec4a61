package strata

import (
	"context"
	"fmt"
	"time"

	"github.com/stratapg/strata/internal/evict"
	"github.com/stratapg/strata/internal/tenant"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
)

// RemoteOptions say where layers are kept beside the local disk. The zero value is nowhere, unless the store has recorded a
// place.
type RemoteOptions struct {
	// URL is recorded in the store as the place, and need not be said again then.
	URL string
	// Open opens the storage at a URL: remoteurl.Open, or that of one driver. Engine.Close closes it.
	Open func(ctx context.Context, url string) (remote.Storage, error)
	// Storage, if set, is used instead. Engine.Close does not close it.
	Storage remote.Storage
	// Generation is that of the default tenant's writer here, given out by a controller, if the store has none yet; 0 takes
	// the next from the remote itself.
	Generation uint32
	// Download says how layers are fetched.
	Download DownloadOptions
	// Evict says when layers leave the local disk again; default never.
	Evict EvictOptions
}

// EvictLimits say which layers leave the local disk, of those that remote storage has too. Zeros are no limits. Those go first
// that newer images hide, then those that were not read for the longest time in relation to their tenant's others.
type EvictLimits = evict.Limits

// EvictOptions say when layers leave the local disk. The zero value is never.
type EvictOptions struct {
	EvictLimits
	// Period is how often that is looked at; 0 is never.
	Period time.Duration
}

// EvictResult says what an eviction did.
type EvictResult = tenant.EvictReport

// Evict looks at the local disk once, and removes the files of layers that are too much by some limits: none that remote
// storage has not got for good, and none that a read or a snapshot holds. They are fetched again when they are read.
func (e *Engine) Evict(ctx context.Context, l EvictLimits) (EvictResult, error) {
	return e.store.Evict(ctx, l)
}

// DownloadProgress is how far Timeline.Download is.
type DownloadProgress = timeline.DownloadProgress

// Download fetches all layers of the timeline that are in remote storage only, so that reads need not. progress may be nil.
func (tl *Timeline) Download(ctx context.Context, progress func(DownloadProgress)) error {
	return tl.t.Download(ctx, progress)
}

// DownloadOptions say how layers are fetched from remote storage. The zero value is good.
type DownloadOptions = timeline.DownloadConfig

// openRemote gives the storage of a store, nil if it has none.
func (e *Engine) openRemote(ctx context.Context) (remote.Storage, error) {
	o := &e.options.Remote
	if o.Storage != nil || o.Open == nil {
		return o.Storage, nil
	}
	if o.URL == "" {
		url, ok, err := tenant.RemoteURL(e.options.FS, e.options.Dir)
		if err != nil {
			return nil, fmt.Errorf("store %s: %w", e.options.Dir, err)
		}
		if !ok || url == "" {
			return nil, nil
		}
		o.URL = url
	}
	s, err := o.Open(ctx, o.URL)
	if err != nil {
		return nil, err
	}
	e.closers = append(e.closers, s.Close)
	return s, nil
}

// AttachOptions say what Attach makes of remote storage.
type AttachOptions struct {
	// Tenant is whose timelines they are.
	Tenant page.TenantID
	// Shard is which of its shards, and how they are dealt out; zero is a tenant without.
	Shard page.ShardIdentity
	// Timelines are those wanted, with all that they branch from; none is all that the remote has.
	Timelines []page.TimelineID
	// Generation is ours, above all that were given out; 0 takes the next from the remote itself. Whoever has a lower one
	// does no harm from then on.
	Generation uint32
}

// Attach makes timelines of what remote storage has of a tenant: of Strata's, or of Neon's. Only indexes are read, whatever
// their size; layers are fetched when they are read, or by Timeline.Download. What is here already stays as it is, so that an
// Attach that was interrupted may be repeated.
func (e *Engine) Attach(ctx context.Context, o AttachOptions) (*Tenant, []*Timeline, error) {
	t, tls, err := e.store.Attach(ctx, tenant.AttachOptions(o))
	if err != nil {
		return nil, nil, err
	}
	out := make([]*Timeline, len(tls))
	for i, tl := range tls {
		out[i] = &Timeline{tl}
	}
	return &Tenant{t: t, options: &e.options}, out, nil
}
