package strata

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/datadir/relsize"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/virtualfile"
)

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// addTimelines defines what all timelines did together.
func (c *collector) addTimelines() {
	c.add("put_batches_total", "Batches put.", counter, func(m *Metrics) int64 { return m.PutBatches })
	c.add("put_values_total", "Values put.", counter, func(m *Metrics) int64 { return m.PutValues })
	c.add("put_bytes_total", "Serialized size of the values put.", counter, func(m *Metrics) int64 { return m.PutBytes })
	c.add("put_waits_total", "Puts that waited for a flush or a compaction.", counter, func(m *Metrics) int64 { return m.PutWaits })
	c.add("put_pauses_total", "Puts that were slowed down by debt.", counter, func(m *Metrics) int64 { return m.PutPauses })
	c.add("put_wait_nanoseconds_total", "Time that puts waited or were slowed down.", counter, func(m *Metrics) int64 { return m.PutWaitNanos })
	c.add("flushes_total", "Layers written from memory.", counter, func(m *Metrics) int64 { return m.Flushes })
	c.add("flush_bytes_total", "Size of the layers written from memory.", counter, func(m *Metrics) int64 { return m.FlushBytes })
	c.add("flush_errors_total", "Attempts to write a layer that failed.", counter, func(m *Metrics) int64 { return m.FlushErrors })
	c.add("manifest_edits_total", "Edits published in manifests.", counter, func(m *Metrics) int64 { return m.ManifestEdits })
	c.add("manifest_bytes_total", "Bytes written to manifests.", counter, func(m *Metrics) int64 { return m.ManifestBytes })
	c.add("manifest_rewrites_total", "Manifests written anew.", counter, func(m *Metrics) int64 { return m.ManifestRewrites })
	c.add("reads_total", "Reads of one or many keys.", counter, func(m *Metrics) int64 { return m.Reads })
	c.add("read_keys_total", "Values given by reads.", counter, func(m *Metrics) int64 { return m.ReadKeys })
	c.add("layer_visits_total", "Layers asked by reads, in memory or on disk.", counter, func(m *Metrics) int64 { return m.LayerVisits })
	c.add("redos_total", "Pages rebuilt from records.", counter, func(m *Metrics) int64 { return m.Redos })
	c.add("redo_records_total", "Records applied to rebuild pages.", counter, func(m *Metrics) int64 { return m.RedoRecords })
	c.add("redo_errors_total", "Pages that could not be rebuilt.", counter, func(m *Metrics) int64 { return m.RedoErrors })
	c.add("relation_directory_changes_total", "Times that a timeline began to list its relations in another form.", counter, func(m *Metrics) int64 { return m.RelDirChanges })
	c.add("detached_ancestors_total", "Timelines detached from their ancestors.", counter, func(m *Metrics) int64 { return m.DetachedAncestors })
	c.add("adopted_layers_total", "Layers that such timelines got of their ancestors.", counter, func(m *Metrics) int64 { return m.AdoptedLayers })
	c.add("adopted_bytes_total", "Their size.", counter, func(m *Metrics) int64 { return m.AdoptedBytes })
	c.add("file_opens_total", "Layer files opened.", counter, func(m *Metrics) int64 { return m.FileOpens })
	c.add("open_files", "Layer files open.", gauge, func(m *Metrics) int64 { return m.OpenFiles })
	c.add("l0_height", "L0 layers of the timeline that has most of them.", gauge, func(m *Metrics) int64 { return m.L0Height })
	c.add("l0_layers", "L0 layers of all timelines.", gauge, func(m *Metrics) int64 { return m.L0Layers })
	c.add("memory_bytes", "Size of the layers in memory.", gauge, func(m *Metrics) int64 { return m.MemoryBytes })
	c.add("held_bytes", "Size of layers that only reads and snapshots still hold.", gauge, func(m *Metrics) int64 { return m.HeldBytes })
	c.add("snapshots", "Snapshots open.", gauge, func(m *Metrics) int64 { return m.Snapshots })
	c.add("oldest_snapshot_seconds", "Age of the oldest snapshot.", gauge, func(m *Metrics) int64 { return int64(m.OldestSnapshot.Seconds()) })
}

// addGC defines what garbage collection did.
func (c *collector) addGC() {
	c.add("gc_runs_total", "Garbage collections.", counter, func(m *Metrics) int64 { return m.GC.Runs })
	c.add("gc_layers_total", "Layers that garbage collection removed.", counter, func(m *Metrics) int64 { return m.GC.Layers })
	c.add("gc_bytes_total", "Their size.", counter, func(m *Metrics) int64 { return m.GC.Bytes })
	c.add("gc_refused_total", "Reads refused as they were below a cutoff.", counter, func(m *Metrics) int64 { return m.GC.Refused })
	c.add("held_lsns", "LSNs that leases and running work hold.", gauge, func(m *Metrics) int64 { return m.GC.Held })
	c.add("held_lsns_limit", "LSNs that a timeline may hold.", gauge, func(m *Metrics) int64 { return m.GC.HeldLimit })
	c.add("fold_versions_total", "Versions that folding left out.", counter, func(m *Metrics) int64 { return m.GC.FoldDropped })
	c.add("fold_images_total", "Images that folding put in their place.", counter, func(m *Metrics) int64 { return m.GC.FoldImages })
	c.add("fold_keys_total", "Keys that folding left out as they exist no more.", counter, func(m *Metrics) int64 { return m.GC.FoldKeys })
}

// addCompaction defines what compaction did.
func (c *collector) addCompaction() {
	for k := range compaction.Kinds {
		c.add("compaction_jobs_total", "Jobs of compaction done.", counter, func(m *Metrics) int64 { return m.Compaction.Jobs[k] }, "kind", compaction.Kind(k).String())
	}
	c.add("compaction_errors_total", "Jobs of compaction that failed, and plans that could not be made.", counter, func(m *Metrics) int64 { return m.Compaction.Errors })
	c.add("compaction_bytes_total", "Bytes that compaction moved.", counter, func(m *Metrics) int64 { return m.Compaction.BytesRead }, "operation", "read")
	c.add("compaction_bytes_total", "Bytes that compaction moved.", counter, func(m *Metrics) int64 { return m.Compaction.BytesWritten }, "operation", "write")
	c.add("compaction_layers_total", "Layers that compaction published and removed.", counter, func(m *Metrics) int64 { return m.Compaction.Outputs }, "change", "published")
	c.add("compaction_layers_total", "Layers that compaction published and removed.", counter, func(m *Metrics) int64 { return m.Compaction.Removed }, "change", "removed")
	c.add("compaction_plans_total", "Plans made.", counter, func(m *Metrics) int64 { return m.Compaction.Plans })
	c.add("compaction_plan_nanoseconds_total", "Time that plans took.", counter, func(m *Metrics) int64 { return m.Compaction.PlanNanos })
	c.add("compaction_chain_images_total", "Page images put between the records of a page.", counter, func(m *Metrics) int64 { return m.Compaction.ChainImages })
	c.add("compaction_chain_errors_total", "Such images that could not be made.", counter, func(m *Metrics) int64 { return m.Compaction.ChainErrors })
	c.add("compaction_running", "Jobs of compaction that run, or parts of them.", gauge, func(m *Metrics) int64 { return m.Compaction.Running })
	c.add("compaction_waiting", "Timelines that wait for their turn to be compacted.", gauge, func(m *Metrics) int64 { return m.Compaction.Waiting })
	c.add("compaction_breakers_open", "Causes of failure for which compaction rests.", gauge, func(m *Metrics) int64 { return m.Compaction.BreakersOpen })
	c.add("compaction_breaker_trips_total", "Times that compaction came to rest, or went on resting, as it failed.", counter, func(m *Metrics) int64 { return m.Compaction.BreakerTrips })
	c.add("compaction_debt_height", "Deltas that the worst read must visit, of timelines whose strategy bounds them.", gauge, func(m *Metrics) int64 { return m.Compaction.DebtHeight })
	c.add("compaction_debt_limit", "The bound on them, at which ingest stops.", gauge, func(m *Metrics) int64 { return m.Compaction.DebtLimit })
	c.add("compaction_debt_bytes", "What waiting jobs will read and write.", gauge, func(m *Metrics) int64 { return m.Compaction.DebtBytes })
	c.add("compaction_rate_bytes", "Bytes a second that compaction may move, 0 for no limit.", gauge, func(m *Metrics) int64 { return m.Compaction.Rate })
	c.add("compaction_slowed_total", "Times that compaction lessened its pace for the sake of reads.", counter, func(m *Metrics) int64 { return m.Compaction.Slowed })
	c.add("compaction_pace_nanoseconds_total", "Time that compaction was held back.", counter, func(m *Metrics) int64 { return m.Compaction.PaceNanos })
	c.add("removed_layers_total", "Files deleted of layers that nothing needs any more.", counter, func(m *Metrics) int64 { return m.RemovedLayers })
	c.add("removed_bytes_total", "Their size.", counter, func(m *Metrics) int64 { return m.RemovedBytes })
	c.add("remove_errors_total", "Such files that could not be deleted.", counter, func(m *Metrics) int64 { return m.RemoveErrors })
}

// addDisk defines what the door to layer files did.
func (c *collector) addDisk() {
	c.add("disk_operations_total", "Transfers of layer files begun.", counter, func(m *Metrics) int64 { return m.Disk.Reads }, "operation", "read")
	c.add("disk_operations_total", "Transfers of layer files begun.", counter, func(m *Metrics) int64 { return m.Disk.Writes }, "operation", "write")
	c.add("disk_operations_total", "Transfers of layer files begun.", counter, func(m *Metrics) int64 { return m.Disk.Syncs }, "operation", "sync")
	c.add("disk_bytes_total", "Bytes of layer files transferred.", counter, func(m *Metrics) int64 { return m.Disk.ReadBytes }, "operation", "read")
	c.add("disk_bytes_total", "Bytes of layer files transferred.", counter, func(m *Metrics) int64 { return m.Disk.WriteBytes }, "operation", "write")
	c.add("disk_failures_total", "Transfers of layer files that failed.", counter, func(m *Metrics) int64 { return m.Disk.Failed })
	c.add("disk_batches_total", "Batches of transfers handed to the engine.", counter, func(m *Metrics) int64 { return m.Disk.Batches })
	c.add("disk_reopens_total", "Files opened again as their descriptor had been taken away.", counter, func(m *Metrics) int64 { return m.Disk.Reopens })
	c.add("disk_descriptor_waits_total", "Times that all descriptors were in use.", counter, func(m *Metrics) int64 { return m.Disk.DescriptorWaits })
	c.add("disk_direct_refused_total", "Files opened through the page cache as the file system refuses direct I/O.", counter, func(m *Metrics) int64 { return m.Disk.DirectRefused })
	c.add("disk_io_uring", "1 if transfers go through io_uring.", gauge, func(m *Metrics) int64 {
		if m.Disk.Engine == virtualfile.EngineURing {
			return 1
		}
		return 0
	})
	c.add("disk_reserve_bytes", "Space held back for manifests on a full disk.", gauge, func(m *Metrics) int64 { return m.ReserveBytes })
	c.add("disk_descriptors", "Descriptors open.", gauge, func(m *Metrics) int64 { return m.Disk.Descriptors })
	c.add("disk_descriptors_limit", "Descriptors that may be open.", gauge, func(m *Metrics) int64 { return m.Disk.DescriptorLimit })
	c.add("disk_handles", "Virtual files open.", gauge, func(m *Metrics) int64 { return m.Disk.Handles })
	c.add("disk_buffer_bytes", "Memory of transfer buffers.", gauge, func(m *Metrics) int64 { return m.Disk.BuffersInUse }, "state", "used")
	c.add("disk_buffer_bytes", "Memory of transfer buffers.", gauge, func(m *Metrics) int64 { return m.Disk.BuffersIdle }, "state", "idle")
}

// addBlocks defines what the block cache did, by kind of content.
func (c *collector) addBlocks() {
	for k := range cache.Kinds {
		c.add("block_cache_hits_total", "Blocks found in the cache.", counter, func(m *Metrics) int64 { return m.Blocks.Hits[k] }, "kind", k.String())
		c.add("block_cache_misses_total", "Blocks loaded into the cache.", counter, func(m *Metrics) int64 { return m.Blocks.Misses[k] }, "kind", k.String())
		c.add("block_cache_waits_total", "Blocks that another one's load was waited for.", counter, func(m *Metrics) int64 { return m.Blocks.Waits[k] }, "kind", k.String())
		c.add("block_cache_failures_total", "Loads that failed.", counter, func(m *Metrics) int64 { return m.Blocks.Failures[k] }, "kind", k.String())
		c.add("block_cache_evictions_total", "Blocks that gave way to others.", counter, func(m *Metrics) int64 { return m.Blocks.Evictions[k] }, "kind", k.String())
		c.add("block_cache_bypasses_total", "Misses for which there was no room.", counter, func(m *Metrics) int64 { return m.Blocks.Bypasses[k] }, "kind", k.String())
		c.add("block_cache_bytes", "Size of the blocks held.", gauge, func(m *Metrics) int64 { return m.Blocks.Bytes[k] }, "kind", k.String())
	}
	c.add("block_cache_limit_bytes", "Size of the blocks that may be held.", gauge, func(m *Metrics) int64 { return m.Blocks.Limit })
}

// addRelSizes defines what the caches of relation sizes did.
func (c *collector) addRelSizes() {
	for kind, of := range map[string]func(*Metrics) *relsize.CacheStats{
		"primary": func(m *Metrics) *relsize.CacheStats { return &m.RelSizes.Primary },
		"replica": func(m *Metrics) *relsize.CacheStats { return &m.RelSizes.Replica },
	} {
		c.add("relsize_cache_hits_total", "Sizes of relations found in a cache.", counter, func(m *Metrics) int64 { return of(m).Hits }, "cache", kind)
		c.add("relsize_cache_misses_total", "Sizes of relations not found in a cache.", counter, func(m *Metrics) int64 { return of(m).Misses }, "cache", kind)
		c.add("relsize_cache_evictions_total", "Sizes of relations that gave way to others.", counter, func(m *Metrics) int64 { return of(m).Evictions }, "cache", kind)
		c.add("relsize_cache_entries", "Sizes of relations held.", gauge, func(m *Metrics) int64 { return of(m).Entries }, "cache", kind)
	}
	c.add("relsize_cache_newer_total", "Misses of the primary cache as the relation has changed since the LSN asked for.", counter, func(m *Metrics) int64 { return m.RelSizes.Newer })
}

// addMems defines what holds values not yet written.
func (c *collector) addMems() {
	c.add("unflushed_memory_bytes", "Memory of values not yet written.", gauge, func(m *Metrics) int64 { return m.Mems.Memory })
	c.add("unflushed_beyond_bytes", "Of it, beyond its share.", gauge, func(m *Metrics) int64 { return m.Mems.Beyond })
	c.add("ephemeral_bytes", "Values not yet written that are in ephemeral files.", gauge, func(m *Metrics) int64 { return m.Mems.Spilled })
	c.add("ephemeral_files", "Ephemeral files.", gauge, func(m *Metrics) int64 { return m.Mems.Files })
	c.add("ephemeral_written_bytes_total", "Bytes written to ephemeral files.", counter, func(m *Metrics) int64 { return m.Mems.Written })
	c.add("ephemeral_read_bytes_total", "Bytes read from ephemeral files.", counter, func(m *Metrics) int64 { return m.Mems.Read })
	c.add("ephemeral_errors_total", "Writes to ephemeral files that failed.", counter, func(m *Metrics) int64 { return m.Mems.SpillErrors })
}

// addMemory defines who has how much of Options.Memory.
func (c *collector) addMemory() {
	for i, name := range timeline.MemoryShareNames() {
		share := func(m *Metrics) timeline.ShareStats { return m.Shares[i] }
		c.add("memory_share_limit_bytes", "Memory that a share may have.", gauge, func(m *Metrics) int64 { return share(m).Limit }, "share", name)
		c.add("memory_share_used_bytes", "Memory that a share has given out.", gauge, func(m *Metrics) int64 { return share(m).Used }, "share", name)
		c.add("memory_share_high_bytes", "The most that a share ever gave out.", gauge, func(m *Metrics) int64 { return share(m).High }, "share", name)
		c.add("memory_share_waits_total", "Requests that waited for a share.", counter, func(m *Metrics) int64 { return share(m).Waits }, "share", name)
	}
	c.add("off_heap_bytes", "Memory outside the Go heap, of the whole process.", gauge, func(m *Metrics) int64 { return m.OffHeapBytes })
}

// addRemote defines what went to remote storage and came from there, and what left the local disk because it is there.
func (c *collector) addRemote() {
	c.add("uploaded_layers_total", "Layers brought to remote storage.", counter, func(m *Metrics) int64 { return m.Uploads.Layers })
	c.add("uploaded_bytes_total", "Bytes brought to remote storage.", counter, func(m *Metrics) int64 { return m.Uploads.Bytes }, "what", "layers")
	c.add("uploaded_bytes_total", "Bytes brought to remote storage.", counter, func(m *Metrics) int64 { return m.Uploads.IndexBytes }, "what", "indexes")
	c.add("uploaded_indexes_total", "Indexes brought to remote storage.", counter, func(m *Metrics) int64 { return m.Uploads.Indexes })
	c.add("upload_index_waits_total", "Indexes that waited until others on their way had left the memory.", counter, func(m *Metrics) int64 { return m.Uploads.IndexWaits })
	c.add("upload_failures_total", "Attempts to bring something to remote storage that failed.", counter, func(m *Metrics) int64 { return m.Uploads.Failures })
	c.add("upload_debt_layers", "Layers that wait to be brought to remote storage.", gauge, func(m *Metrics) int64 { return m.Uploads.Owed })
	c.add("upload_debt_bytes", "Their size.", gauge, func(m *Metrics) int64 { return m.Uploads.OwedBytes })
	c.add("upload_debt_waits_total", "Flushes that waited as too much was still to be brought to remote storage.", counter, func(m *Metrics) int64 { return m.Uploads.Waits })
	c.add("remote_deletions_pending", "Objects of remote storage that wait to be deleted.", gauge, func(m *Metrics) int64 { return m.Uploads.Deletions.Pending })
	c.add("remote_deletions_total", "Objects of remote storage that were deleted.", counter, func(m *Metrics) int64 { return m.Uploads.Deletions.Deleted })
	c.add("remote_deletions_dropped_total", "Deletions left to another writer, that has taken over.", counter, func(m *Metrics) int64 { return m.Uploads.Deletions.Dropped })
	c.add("remote_deletion_failures_total", "Attempts to delete that failed.", counter, func(m *Metrics) int64 { return m.Uploads.Deletions.Failures })
	c.add("downloaded_layers_total", "Layers fetched from remote storage.", counter, func(m *Metrics) int64 { return m.Downloads.Layers })
	c.add("downloaded_bytes_total", "Their size.", counter, func(m *Metrics) int64 { return m.Downloads.Bytes })
	c.add("download_failures_total", "Downloads that were given up.", counter, func(m *Metrics) int64 { return m.Downloads.Failures })
	c.add("download_stalls_total", "Downloads begun again as nothing came any more.", counter, func(m *Metrics) int64 { return m.Downloads.Stalls })
	c.add("downloads_running", "Downloads that run, or wait to.", gauge, func(m *Metrics) int64 { return m.Downloads.Running })
	c.add("taken_over_layers_total", "Layers of a shard that was split which its shards have written anew.", counter, func(m *Metrics) int64 { return m.TakenOverLayers })
	c.add("taken_over_bytes_total", "Their size.", counter, func(m *Metrics) int64 { return m.TakenOverBytes })
	c.add("evicted_layers_total", "Layer files that left the local disk.", counter, func(m *Metrics) int64 { return m.EvictedLayers })
	c.add("evicted_bytes_total", "Their size.", counter, func(m *Metrics) int64 { return m.EvictedBytes })
}
