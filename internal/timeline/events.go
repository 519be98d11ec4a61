package timeline

import (
	"time"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// Events are functions that are called as things happen, without locks held. Any may be nil. They are
// called from many goroutines and must return quickly, for the work that they report waits for them.
type Events struct {
	FlushBegin func(FlushInfo)
	FlushEnd   func(FlushInfo)
	// CompactionBegin, CompactionProgress and CompactionEnd follow a job of compaction; progress is told about a
	// hundred times.
	CompactionBegin    func(CompactionInfo)
	CompactionProgress func(CompactionInfo)
	CompactionEnd      func(CompactionInfo)
	ManifestCut        func(ManifestCutInfo)
	LeftOver           func(LeftOverInfo)
	TimelineMade       func(TimelineMadeInfo)
	// StallBegin and StallEnd say that a Put has to wait for a flush or a compaction. TryPut, and Put where it is
	// only slowed down, are not reported.
	StallBegin func(StallInfo)
	StallEnd   func(StallInfo)
	// ReserveUsed says that a full disk's reserve was given up for a manifest, ReserveHeld that it is there again.
	ReserveUsed func(ReserveInfo)
	ReserveHeld func(ReserveInfo)
	// EngineFallback says, while a store is opened, that io_uring was wanted and is not to be had.
	EngineFallback func(EngineFallbackInfo)
}

// FlushInfo describes the writing of one frozen in-memory layer. Begin and end share a JobID.
type FlushInfo struct {
	JobID    uint64
	Tenant   page.TenantID
	Timeline page.TimelineID
	LSNs     page.LSNRange
	// The rest is known at the end alone. Layers are none where no value was to be written, or after an error, and more than
	// one where the compaction strategy has the flush divided.
	Layers   []layer.Desc
	Duration time.Duration
	Err      error
}

// StallInfo describes the debt for which a Put waits. Begin and end share a JobID.
type StallInfo struct {
	JobID    uint64
	Tenant   page.TenantID
	Timeline page.TimelineID
	// Unflushed is the bytes in memory, L0Height the number of L0 layers, Frozen that of full layers in memory, as
	// they are at the time.
	Unflushed int64
	L0Height  int
	Frozen    int
	Duration  time.Duration // at the end
}

// ReserveInfo names the manifest that the reserve was needed for, and the reserve's size.
type ReserveInfo struct {
	Manifest string
	Bytes    int64
}

// EngineFallbackInfo says why io_uring is not used.
type EngineFallbackInfo struct{ Err error }

// ManifestCutInfo says that a manifest ended in an edit that was not whole, as a crash leaves it.
type ManifestCutInfo struct {
	Tenant   page.TenantID
	Timeline page.TimelineID
	File     string
	Offset   int64 // where the file was cut
	Bytes    int64 // how much was dropped
}

// LeftOverInfo names a file that a crash or a failure left behind, or that is none of the store's. It was
// removed, or moved to MovedTo if that is set; or it is still there, in a store that is open read-only or
// where Err says why it could not be moved.
type LeftOverInfo struct {
	File    string
	Reason  string
	MovedTo string
	Err     error
}

// TimelineMadeInfo says that a timeline has come into being.
type TimelineMadeInfo struct {
	Tenant   page.TenantID
	Timeline page.TimelineID
	Name     string
	LSN      page.LSN // where it begins
	Layers   int
}
