package strata

import (
	"context"
	"fmt"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/ingest"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg/control"
)

type (
	// TimelineInfo describes a timeline at one moment.
	TimelineInfo = timeline.Info
	// Metrics are counters of all timelines of a store since it was opened.
	Metrics = timeline.Metrics
	// Pressure says how much debt slows Put down, and how much stops it.
	Pressure = timeline.Pressure
	// Events are functions that are called as things happen.
	Events = timeline.Events
	// FlushInfo describes the writing of one in-memory layer.
	FlushInfo = timeline.FlushInfo
	// ManifestCutInfo says that a manifest ended in an edit that was not whole, as a crash leaves it.
	ManifestCutInfo = timeline.ManifestCutInfo
	// LeftOverInfo names a file that a crash left behind, or that is none of the store's.
	LeftOverInfo = timeline.LeftOverInfo
	// StallInfo describes the debt for which a Put waits.
	StallInfo = timeline.StallInfo
	// ReserveInfo names the manifest that the disk's reserve was needed for.
	ReserveInfo = timeline.ReserveInfo
	// EngineFallbackInfo says why io_uring is not used.
	EngineFallbackInfo = timeline.EngineFallbackInfo
	// TimelineMadeInfo says that a timeline has come into being.
	TimelineMadeInfo = timeline.TimelineMadeInfo
)

// Timeline is the history of a cluster, or of a branch of it.
type Timeline struct {
	t       *timeline.Timeline
	backups *backupCache
}

var _ datadir.Store = (*Timeline)(nil)

// Info describes the timeline as it is now.
func (tl *Timeline) Info() TimelineInfo { return tl.t.Info() }

// Layers lists the timeline's own layer files, not its ancestors'.
func (tl *Timeline) Layers() []layer.Desc { return tl.t.Layers() }

// LastRecordLSN is the end of the last record put, also where it is not durable yet.
func (tl *Timeline) LastRecordLSN() page.LSN { return tl.t.LastRecordLSN() }

// PrevRecordLSN is where the record that ends at LastRecordLSN begins, 0 if unknown.
func (tl *Timeline) PrevRecordLSN() page.LSN { return tl.t.PrevRecordLSN() }

// DiskConsistentLSN is where the timeline would end after a crash. It never goes back.
func (tl *Timeline) DiskConsistentLSN() page.LSN { return tl.t.DiskConsistentLSN() }

// Put stores a batch whole or not at all. It refuses with ErrRefused, before anything is stored, a batch
// with an LSN not above the last or not a multiple of 8, a key without a valid form, or a value over
// page.MaxValueSize. Of two values for one key and LSN the last wins. It is slowed down in proportion to what
// is not yet written or compacted (Options.Pressure), waits at the limit, and refuses while writing fails:
// then it can be called again once there is room on the disk.
func (tl *Timeline) Put(ctx context.Context, b *page.Batch) error { return tl.t.Put(ctx, b) }

// TryPut is Put for those who have something better to do than to wait: where Put would, it gives
// ErrBackpressure and stores nothing.
func (tl *Timeline) TryPut(ctx context.Context, b *page.Batch) error { return tl.t.TryPut(ctx, b) }

// WaitLSN returns once lsn can be read: at once if the timeline is there already. It ends with the error of
// ctx, or with ErrClosed.
func (tl *Timeline) WaitLSN(ctx context.Context, lsn page.LSN) error { return tl.t.WaitLSN(ctx, lsn) }

// NextDurable gives DiskConsistentLSN and a channel that is closed once it has moved on from there. A loop
// that acts on the LSN and then waits for the channel misses nothing:
//
//	for {
//		lsn, moved := tl.NextDurable()
//		acknowledge(lsn)
//		select {
//		case <-moved:
//		case <-ctx.Done():
//			return ctx.Err()
//		}
//	}
//
// The channel stays open when the engine is closed.
func (tl *Timeline) NextDurable() (page.LSN, <-chan struct{}) { return tl.t.NextDurable() }

// Freeze ends the in-memory layer, so that it is written in the background.
func (tl *Timeline) Freeze(ctx context.Context) error { return tl.t.Freeze(ctx) }

// Flush returns once everything put before it is durable.
func (tl *Timeline) Flush(ctx context.Context) error { return tl.t.Flush(ctx) }

// Get gives the value of key as of lsn: a page, or what a directory-like key holds. The error wraps
// ErrNotFound if the key has no version there.
func (tl *Timeline) Get(ctx context.Context, key page.Key, lsn page.LSN) ([]byte, error) {
	return tl.t.Get(ctx, key, lsn)
}

// GetVectored calls fn in ascending key order for every key of keys that has a version at lsn, with its
// value, which is valid during the call only, or with the reason why this one cannot be rebuilt. Keys
// without a version are left out. An error that fn returns ends the read. keys may span any number of keys:
// memory stays bounded.
func (tl *Timeline) GetVectored(ctx context.Context, keys page.Set, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error {
	return tl.t.GetVectored(ctx, keys, lsn, fn)
}

// Cluster sees the cluster's databases, relations and files as of lsn, which must be one that ResolveLSN
// gives.
func (tl *Timeline) Cluster(lsn page.LSN) *datadir.Snapshot {
	return datadir.At(tl.t, lsn, tl.t.Meta().Version)
}

// Page gives a block of a relation's fork as of lsn. The error wraps ErrNotFound, and says how long the
// relation is, if there is no such relation or block.
func (tl *Timeline) Page(ctx context.Context, rel page.RelTag, block uint32, lsn page.LSN) ([]byte, error) {
	return readPage(ctx, tl, tl.Cluster(lsn), rel, block, lsn)
}

// ResolveLSN gives the state that lsn means: the end of the last whole record at or before it. It gives
// ErrFutureLSN or ErrBeforeHistory where lsn lies outside the timeline's history. That of a branch begins at
// its branch point: what was before is its ancestor's to tell, although Get reads it here too.
func (tl *Timeline) ResolveLSN(ctx context.Context, lsn page.LSN) (page.LSN, error) {
	if m := tl.t.Meta(); m.AncestorLSN != 0 && lsn < m.InitialLSN {
		return 0, fmt.Errorf("%w: LSN %s of timeline %s, which branched from timeline %s at %s: ask that one",
			ErrBeforeHistory, lsn, m.Name, m.Ancestor, m.AncestorLSN)
	}
	return tl.t.ResolveLSN(ctx, lsn)
}

// NewIngester gives what takes WAL records into the timeline one by one, for those who have their own source
// of WAL. Only one may be used at a time, and nothing else may Put meanwhile.
func (tl *Timeline) NewIngester(ctx context.Context) (*ingest.Ingester, error) {
	return tl.newIngester(ctx, false)
}

func (tl *Timeline) newIngester(ctx context.Context, ancestors bool) (*ingest.Ingester, error) {
	m := tl.t.Meta()
	return ingest.NewIngester(ctx, tl, ingest.Options{
		Version: m.Version, Flavour: m.Flavour, SegSize: m.WALSegSize, SystemID: m.SystemID, Shutdown: tl.backups.shutdownOf(tl),
		Origin: tl.origin(ancestors),
	})
}

// origin says whose WAL the timeline takes: with ancestors anybody's.
func (tl *Timeline) origin(ancestors bool) (o ingest.Origin) {
	if ancestors {
		return o
	}
	for _, id := range tl.t.Line() {
		o.Marks = append(o.Marks, control.MarkOf(id))
	}
	o.Branch = tl.t.Joint()
	return o
}

// Ingest takes in the WAL segments of a directory, from where the timeline ends. A missing or half-filled
// end is no error: it stops at the last whole record, and called again it goes on from there. After an error
// the records before it are there, and LSN says up to where. Nothing of it is durable before Flush.
func (tl *Timeline) Ingest(ctx context.Context, o IngestOptions) (IngestResult, error) {
	i, err := tl.newIngester(ctx, o.AncestorWAL)
	if err != nil {
		return IngestResult{LSN: tl.LastRecordLSN()}, err
	}
	begin := i.LSN()
	var progress func(ingest.Progress)
	if o.Progress != nil {
		progress = func(p ingest.Progress) {
			ip := IngestProgress{LSN: p.LSN, Records: p.Records, Bytes: p.Bytes}
			if p.End > begin {
				ip.TotalBytes = int64(p.End - begin)
			}
			o.Progress(ip)
		}
	}
	r, err := i.Dir(ctx, o.Dir, o.Until, progress)
	return IngestResult{LSN: r.LSN, Records: r.Records, Bytes: r.Bytes}, err
}
