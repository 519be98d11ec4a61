package strata

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/evict"
	"github.com/stratapg/strata/internal/tenant"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
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
	// Upload says how layers get there.
	Upload UploadOptions
	// Download says how layers are fetched.
	Download DownloadOptions
	// Evict says when layers leave the local disk again; default never.
	Evict EvictOptions
	// HeatmapPeriod is how often remote storage is told which layers of each tenant are worth having on the disk of one who may
	// take it over; 0 is never. It is Neon's heatmap-v1.json.
	HeatmapPeriod time.Duration
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

// UploadOptions say how layers get to remote storage. The zero value is good.
type UploadOptions = timeline.UploadConfig

// Validator says whether the generation of a writer is the last that was given out: UploadOptions.Validator. An embedder
// with a controller asks that one.
type Validator = upload.Validator

// RemotePlace is whose objects are meant, of a Validator's question.
type RemotePlace = upload.Place

// UploadStatus is what a timeline owes to remote storage.
type UploadStatus = upload.Status

// RemoteConsistentLSN is up to where remote storage alone is enough, and no other writer has taken over: WAL below it
// need not be kept for this timeline. It is 0 without a remote, and until an index was uploaded since the store was opened.
func (tl *Timeline) RemoteConsistentLSN() page.LSN { return tl.t.RemoteConsistentLSN() }

// UploadStatus is what the timeline owes to remote storage, and what is wrong with it.
func (tl *Timeline) UploadStatus() UploadStatus { return tl.t.UploadStatus() }

// WaitUploads returns once all that is durable now is in remote storage as well, and our generation was found to be the last
// after that; else ErrStale. Without a remote it returns at once.
func (tl *Timeline) WaitUploads(ctx context.Context) error { return tl.t.WaitUploads(ctx) }

// HeatmapResult says what a heatmap names.
type HeatmapResult = tenant.HeatmapReport

// WriteHeatmap tells remote storage now which layers of the tenant are worth having on the disk of one who may take it over: those
// that are here and that reads at the ends of timelines need. ErrStale if another writer has taken over already.
func (t *Tenant) WriteHeatmap(ctx context.Context) (HeatmapResult, error) {
	return t.t.WriteHeatmap(ctx, t.options.Remote.HeatmapPeriod)
}

// SecondaryStatus is how far DownloadSecondary is: Layers and Bytes are here, of those that the heatmap names.
type SecondaryStatus = tenant.SecondaryStatus

// DownloadSecondary fetches the layers that the heatmap names of a tenant that is not attached here, so that an Attach finds
// them. What is here when ctx ends stays, and counts the next time; layers that the heatmap does not name any more go. progress may be
// nil.
func (e *Engine) DownloadSecondary(ctx context.Context, id page.TenantShardID, progress func(SecondaryStatus)) (SecondaryStatus, error) {
	return e.store.DownloadSecondary(ctx, id, progress)
}

// ForgetSecondary removes what DownloadSecondary brought of a tenant.
func (e *Engine) ForgetSecondary(id page.TenantShardID) error { return e.store.ForgetSecondary(id) }

// DownloadOptions say how layers are fetched from remote storage. The zero value is good.
type DownloadOptions = timeline.DownloadConfig

// Bounds of RemoteOptions.
const (
	maxTransfers  = 1024
	maxPercentage = 100
)

func (o *RemoteOptions) validate() error {
	var errs []error
	bound := func(name string, v, high int64) {
		if v < 0 || v > high {
			errs = append(errs, fmt.Errorf("strata.Options.Remote.%s is %d: want 0 to %d", name, v, high))
		}
	}
	bound("Upload.Parallel", int64(o.Upload.Parallel), maxTransfers)
	bound("Upload.BytesPerSecond", o.Upload.BytesPerSecond, math.MaxInt64)
	bound("Upload.CloseTime", int64(o.Upload.CloseTime), math.MaxInt64)
	bound("Upload.DeleteDelay", int64(o.Upload.DeleteDelay), math.MaxInt64)
	bound("Download.Concurrent", int64(o.Download.Concurrent), maxTransfers)
	bound("Download.Stall", int64(o.Download.Stall), math.MaxInt64)
	bound("Download.Attempts", int64(o.Download.Attempts), math.MaxInt32)
	bound("Download.Pause", int64(o.Download.Pause), math.MaxInt64)
	bound("Evict.Period", int64(o.Evict.Period), math.MaxInt64)
	bound("HeatmapPeriod", int64(o.HeatmapPeriod), math.MaxInt64)
	bound("Evict.MaxUsagePct", int64(o.Evict.MaxUsagePct), maxPercentage)
	bound("Evict.MinAvailBytes", o.Evict.MinAvailBytes, math.MaxInt64)
	bound("Evict.MaxBytes", o.Evict.MaxBytes, math.MaxInt64)
	bound("Evict.MaxAge", int64(o.Evict.MaxAge), math.MaxInt64)
	bound("Evict.CoveredAge", int64(o.Evict.CoveredAge), math.MaxInt64)
	bound("Evict.ReserveBytes", o.Evict.ReserveBytes, math.MaxInt64)
	if l := o.Evict.EvictLimits; o.Evict.Period > 0 && l == (EvictLimits{ReserveBytes: l.ReserveBytes}) {
		errs = append(errs, errors.New("strata.Options.Remote.Evict.Period is set, and none of the limits: nothing would ever be evicted"))
	}
	if o.Storage != nil && o.Open != nil {
		errs = append(errs, errors.New("strata.Options.Remote.Storage and Open are both set: they exclude each other"))
	}
	if o.URL != "" && o.Storage == nil && o.Open == nil {
		errs = append(errs, errors.New("strata.Options.Remote.URL is set without Open, which opens what it names: set Open to remoteurl.Open, or to that of one driver"))
	}
	return errors.Join(errs...)
}

// openRemote gives the storage of a store, with its requests counted; nil if it has none.
func (e *Engine) openRemote(ctx context.Context) (remote.Storage, error) {
	s, err := e.findRemote(ctx)
	if s == nil || err != nil {
		return nil, err
	}
	e.remote = remote.Measure(s, clock.System)
	return e.remote, nil
}

func (e *Engine) findRemote(ctx context.Context) (remote.Storage, error) {
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
	// Shard is which of its shards, and how they are dealt out; zero is a tenant without. A StripeSize of 0 is the one that the shard's
	// manifest in remote storage names; any other must be that.
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
		out[i] = &Timeline{tl, e.backups}
	}
	return &Tenant{t: t, options: &e.options, backups: e.backups}, out, nil
}
