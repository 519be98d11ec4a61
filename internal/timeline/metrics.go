package timeline

import (
	"sync/atomic"
	"time"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/datadir/relsize"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/virtualfile"
)

// Metrics are counters of all timelines that share them since the store was opened.
type Metrics struct {
	PutBatches, PutValues, PutBytes int64
	// PutWaits counts the times that Put waited for a flush or a compaction, PutPauses those that it was slowed
	// down; PutWaitNanos is what both took.
	PutWaits, PutPauses, PutWaitNanos int64
	// Flushes counts layers written, FlushBytes their size, FlushErrors failed attempts.
	Flushes, FlushBytes, FlushErrors int64
	// ManifestEdits and ManifestBytes count what was published; ManifestRewrites whole rewritings among it.
	ManifestEdits, ManifestBytes, ManifestRewrites int64
	// Reads counts calls of Get and GetVectored, ReadKeys the values they gave, LayerVisits the layers asked
	// for them, in memory or on disk.
	Reads, ReadKeys, LayerVisits int64
	// Redos counts pages rebuilt, RedoRecords the records applied for them, RedoErrors those that failed.
	Redos, RedoRecords, RedoErrors int64
	// OpenFiles is the number of layer files open now, FileOpens how often one was opened.
	OpenFiles, FileOpens int64
	// RemovedLayers counts the files deleted of layers that compaction or collection made obsolete, RemovedBytes
	// their size, RemoveErrors attempts that failed.
	RemovedLayers, RemovedBytes, RemoveErrors int64
	// Compaction is what compaction did.
	Compaction CompactionMetrics
	// Snapshots is how many are open now, OldestSnapshot the age of the first of them.
	Snapshots      int64
	OldestSnapshot time.Duration
	// HeldBytes is the size of layers, in memory or on disk, that only reads and snapshots still hold.
	HeldBytes int64
	// L0Height is the height of the tallest L0 stack of any timeline, which bounds the deltas that a read meets
	// before it comes to compacted ones; L0Layers is that of all stacks together.
	L0Height, L0Layers int64
	// GC is what garbage collection did.
	GC GCMetrics
	// EvictedLayers and EvictedBytes count the files removed of layers that remote storage has.
	EvictedLayers, EvictedBytes int64
	// TakenOverLayers and TakenOverBytes count layers of a shard that was split which its shards have written anew.
	TakenOverLayers, TakenOverBytes int64
	// DetachedAncestors counts timelines that were detached from their ancestors, AdoptedLayers and AdoptedBytes what they got of
	// those.
	DetachedAncestors, AdoptedLayers, AdoptedBytes int64
	// Downloads is what was fetched from remote storage.
	Downloads DownloadMetrics
	// Uploads is what was brought there.
	Uploads UploadMetrics
	// ReserveBytes is the space held back for manifests on a full disk: 0 while it is used.
	ReserveBytes int64
	// MemoryBytes is the size of all layers in memory now.
	MemoryBytes int64
	// OffHeapBytes is the memory outside the Go heap now, of the whole process.
	OffHeapBytes int64
	// Mems is the memory of values not yet written, and what of them is in ephemeral files.
	Mems layer.MemStats
	// Disk is what the door to layer files did, Blocks the cache of their index blocks, Shares who has how much
	// of Options.Memory.
	Disk   virtualfile.DiskMetrics
	Blocks cache.Stats
	// RelSizes is what the caches of relation sizes did.
	RelSizes relsize.Stats
	// RelDirChanges counts the times that a timeline began to list its relations in another form.
	RelDirChanges int64
	Shares        []ShareStats
}

// counters is Metrics while it changes.
type counters struct {
	putBatches, putValues, putBytes                atomic.Int64
	putWaits, putPauses, putWaitNanos              atomic.Int64
	flushes, flushBytes, flushErrors               atomic.Int64
	manifestEdits, manifestBytes, manifestRewrites atomic.Int64
	reads, readKeys, layerVisits                   atomic.Int64
	redos, redoRecords, redoErrors                 atomic.Int64
	fileOpens, heldBytes                           atomic.Int64
	relSizes                                       relsize.Counters
	relDirs                                        atomic.Int64
	removedLayers, removedBytes, removeErrors      atomic.Int64
	evictedLayers, evictedBytes                    atomic.Int64
	takenOver, takenOverBytes                      atomic.Int64
	detached, adopted, adoptedBytes                atomic.Int64
	compactionCounters
	gcCounters
}

func (c *counters) snapshot() Metrics {
	return Metrics{
		PutBatches: c.putBatches.Load(), PutValues: c.putValues.Load(), PutBytes: c.putBytes.Load(),
		PutWaits: c.putWaits.Load(), PutPauses: c.putPauses.Load(), PutWaitNanos: c.putWaitNanos.Load(),
		Flushes: c.flushes.Load(), FlushBytes: c.flushBytes.Load(), FlushErrors: c.flushErrors.Load(),
		ManifestEdits: c.manifestEdits.Load(), ManifestBytes: c.manifestBytes.Load(),
		ManifestRewrites: c.manifestRewrites.Load(),
		Reads:            c.reads.Load(), ReadKeys: c.readKeys.Load(), LayerVisits: c.layerVisits.Load(),
		RelSizes: c.relSizes.Stats(), RelDirChanges: c.relDirs.Load(),
		Redos: c.redos.Load(), RedoRecords: c.redoRecords.Load(), RedoErrors: c.redoErrors.Load(),
		FileOpens:       c.fileOpens.Load(),
		TakenOverLayers: c.takenOver.Load(), TakenOverBytes: c.takenOverBytes.Load(),
		DetachedAncestors: c.detached.Load(), AdoptedLayers: c.adopted.Load(), AdoptedBytes: c.adoptedBytes.Load(),
		EvictedLayers: c.evictedLayers.Load(), EvictedBytes: c.evictedBytes.Load(),
		RemovedLayers: c.removedLayers.Load(), RemovedBytes: c.removedBytes.Load(), RemoveErrors: c.removeErrors.Load(),
	}
}
