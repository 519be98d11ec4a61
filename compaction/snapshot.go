package compaction

import (
	"time"

	"github.com/stratapg/strata/page"
)

// Snapshot is all that a strategy may look at: one version of a timeline, which does not change.
type Snapshot struct {
	// Layers are the timeline's own live layers, in any order; what is planned must not depend on it.
	Layers []Layer
	// Doomed are the names of layers that are no longer live and not yet deleted: no output may bear one of
	// them, nor that of a live layer, in this Generation.
	Doomed     []ID
	Generation uint32

	// LastRecordLSN is the newest LSN, DiskConsistentLSN the newest that is in Layers.
	LastRecordLSN, DiskConsistentLSN page.LSN
	// InitialLSN is where the timeline begins; AncestorLSN where it branched off, 0 if it has no ancestor. Facts at or
	// below them lie in the ancestor.
	InitialLSN, AncestorLSN page.LSN
	// Cutoff is the lowest LSN that any read may ask for, but for those retained.
	Cutoff page.LSN
	// Retain are the read points below the cutoff (and above: they do no harm there), in ascending order of
	// LSN.
	Retain []ReadPoint

	// Live are the dense keys that exist at LiveLSN, and LiveLSN is at most DiskConsistentLSN: images may be made there. Sparse
	// keys (metadata) are not among them; SparseKeys is their range.
	Live    page.Set
	LiveLSN page.LSN

	// UnflushedBytes are in memory, above DiskConsistentLSN.
	UnflushedBytes int64

	// ImageCheck is when the strategy last looked whether images are due (Plan.ImagesChecked), zero if never.
	ImageCheck ImageCheck

	Options Options
}

// ReadPoint is an LSN below the cutoff at which reads are served.
type ReadPoint struct {
	LSN page.LSN
	// Released are keys, sorted and disjoint, that nobody reads here any more: a branch covered them itself. Nil is none.
	Released []page.Range
}

// ImageCheck says when it was last looked whether images are due.
type ImageCheck struct {
	LSN page.LSN
	Age time.Duration
}

// Options are the knobs of a timeline's compaction; the zero value of each is its default. The names and
// defaults down to FoldJobBytes are Neon's (libs/pageserver_api/src/config.rs).
type Options struct {
	// CheckpointDistance is the size at which layers in memory are flushed, and of L1 deltas: 256 MiB.
	CheckpointDistance int64
	// CompactionTargetSize is the size of image partitions and of the outputs of folding: 128 MiB.
	CompactionTargetSize int64
	// CompactionThreshold is the number of L0s that start a compaction, and the fan-out of tiered: 10.
	CompactionThreshold int
	// CompactionUpperLimit times CheckpointDistance bounds the bytes of L0s in one compaction: 10.
	CompactionUpperLimit int
	// ImageCreationThreshold is how many deltas may be stacked above an image: 3.
	ImageCreationThreshold int
	// ImageCheckDistance, in CheckpointDistances of LSNs, and ImageCheckAge are when it is looked whether
	// images are due: 2, and 10 minutes.
	ImageCheckDistance int
	ImageCheckAge      time.Duration
	// ImageSmallAge takes the place of ImageCheckAge where the live pages are at most ImageSmallBytes: 48 hours, 2 GiB.
	ImageSmallBytes int64
	ImageSmallAge   time.Duration
	// ImagePreemptThreshold times CompactionThreshold is the number of L0s for which a pass of images that has begun
	// has to wait: 3.
	ImagePreemptThreshold int
	// ImageForcePercent asks for images, and for L0s to be rewritten for them, where the newest image is further back than this
	// much of the way from the last record to the cutoff, and deltas lie above it: 0, which is never.
	ImageForcePercent int
	// MetadataThreshold is how many deltas a scan of all metadata may have to visit before these get an image: 16.
	MetadataThreshold int
	// FoldMinBytes is the history below the cutoff from which folding is considered: 5 GiB. FoldRatio is how many percent
	// of what is folded already have to be added since: 100.
	FoldMinBytes int64
	FoldRatio    int
	// FoldJobBytes is the size of the layers that one job of folding reads: 4 GiB.
	FoldJobBytes int64

	// MaxVisits bounds the deltas that a read may have to visit, MaxRecords the records that it may have to
	// replay. Only strategies that promise it keep them (see Strategy): 16 and 256.
	MaxVisits, MaxRecords int
}
