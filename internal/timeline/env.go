package timeline

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/offheap"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/virtualfile"
	"github.com/stratapg/strata/walredo"
)

// Config is what the timelines of a store have in common. Where nothing else is said all fields must be set,
// and numbers are positive.
type Config struct {
	FS                 virtualfile.FS
	ReadOnly           bool
	AllowDamaged       bool  // layers that are missing or damaged do not keep a timeline from opening
	CheckpointDistance int64 // bytes of WAL or of values after which an in-memory layer is frozen
	// CheckpointTimeout is the age at which it is frozen in any case; 0 is never.
	CheckpointTimeout time.Duration
	MaxFrozen         int // frozen layers that may wait before Put does
	// Pressure slows Put down before that; zeros are no limits.
	Pressure Pressure
	// MaxSnapshotAge ends older snapshots, MaxHeldBytes the oldest ones while more is held for readers; 0 is no
	// limit.
	MaxSnapshotAge time.Duration
	MaxHeldBytes   int64
	MaxOpenFiles   int
	Scratch        string // the folder of ephemeral files, which exists
	Memory         int64  // bytes, of which everything that is large gets a share
	// MemBytes bounds the memory of in-memory layers, MemChunk is the unit in which their values take it and go
	// to disk; 0 is their share of Memory, and the unit that measurements favour. Tests make them tiny.
	MemBytes int64
	MemChunk int
	// Unchecked leaves the integrity trailer out of new layers.
	Unchecked  bool
	IOMode     virtualfile.Mode
	IOEngine   virtualfile.EngineKind
	ValidateIO bool
	Reserve    *virtualfile.Reserve // space for manifests on a full disk; nil if there is none
	// RefuseOnFullDisk has Put give the reason while the disk is full, rather than wait. FullDisk is called whenever something
	// could not be written for want of space; it returns at once, and may be nil.
	RefuseOnFullDisk   bool
	FullDisk           func()
	MinManifestRewrite int64
	Redoer             walredo.Redoer
	// Remote is where layers are kept beside the local disk; nil if there is no such place. Download is how they are
	// fetched from there.
	Remote   remote.Storage
	Download DownloadConfig
	// Upload is how they come there.
	Upload UploadConfig
	// ImageCompression is how compaction stores pages.
	ImageCompression layer.Compression
	Compaction       CompactionConfig
	GC               GCConfig
	Logger           *slog.Logger
	Events           Events
	Clock            clock.Clock
	// Sleep waits between attempts at remote storage; default by the clock. Tests set it.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Env is a Config with what the timelines share at run time.
type Env struct {
	Config
	// Disk is where layer files are, Blocks what is kept of their indexes.
	Disk      *virtualfile.Disk
	Blocks    *cache.Blocks
	Shares    *MemoryShares
	mems      *layer.MemPool // of in-memory layers; nil if there is nothing to write
	holds     atomic.Int64   // the store's, and one for each timeline that may be read
	snapshots snapshots
	counters  counters
	heights   heights
	firsts    firsts
	downloads *downloads      // nil without Remote
	uploads   *uploadEnv      // nil without Remote, and if nothing is to be written
	lanes     *lanes          // of background jobs
	pace      *ioPace         // likewise
	allOpen   <-chan struct{} // closed once all branches are known; nil if they are
	jobs      atomic.Uint64
	alarms    alarms       // of all timelines
	memory    atomic.Int64 // bytes in layers not yet written
	tick      atomic.Int64 // the time that reads note, in ns; 0 if they are to note none

	generations sync.Map // of page.TenantShardID to uint32; those that are not there have localGeneration
}

// NewEnv makes the shared part of a store's timelines.
func NewEnv(c Config) (*Env, error) {
	shares, err := newMemoryShares(c.Memory)
	if err != nil {
		return nil, err
	}
	if c.MemBytes > 0 {
		if err := shares.Layers.Resize(c.MemBytes); err != nil {
			return nil, err
		}
	}
	d, err := virtualfile.NewDisk(c.FS, virtualfile.DiskOptions{
		Mode: c.IOMode, Engine: c.IOEngine, Validate: c.ValidateIO, MaxDescriptors: c.MaxOpenFiles,
		InFlight: shares.Reads, Logger: c.Logger, Fallback: func(err error) {
			if c.Events.EngineFallback != nil {
				c.Events.EngineFallback(EngineFallbackInfo{Err: err})
			}
		},
	})
	if err != nil {
		return nil, err
	}
	blocks, err := cache.New(cache.Options{Bytes: min(shares.Blocks.Limit(), offheap.MaxArea), Budget: shares.Blocks})
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	e := &Env{Config: c, Disk: d, Blocks: blocks, Shares: shares}
	e.lanes = newLanes(c.Clock, cmp.Or(c.Compaction.Lanes, defaultLanes))
	e.pace = newPace(c.Clock, c.Compaction.Bandwidth)
	e.lanes.gentle = e.pace.gentle
	if c.Remote != nil {
		e.downloads = newDownloads(c.Download)
	}
	if e.uploads, err = newUploadEnv(&e.Config); err != nil {
		return nil, errors.Join(err, blocks.Close(), d.Close())
	}
	if !c.ReadOnly {
		e.mems, err = layer.NewMemPool(layer.MemPoolOptions{Disk: d, Dir: c.Scratch, Budget: shares.Layers, Chunk: c.MemChunk})
	}
	if err != nil {
		return nil, errors.Join(err, blocks.Close(), d.Close())
	}
	e.holds.Store(1)
	return e, nil
}

// Metrics gives the counters as they are now.
func (e *Env) Metrics() Metrics {
	m := e.counters.snapshot()
	m.Disk, m.Blocks, m.Shares = e.Disk.Metrics(), e.Blocks.Stats(), e.Shares.Stats()
	if e.mems != nil {
		m.Mems = e.mems.Stats()
	}
	m.OpenFiles = m.Disk.Descriptors
	m.OffHeapBytes = offheap.InUse()
	m.HeldBytes = e.counters.heldBytes.Load()
	if s, n := e.snapshots.oldest(); s != nil {
		m.Snapshots, m.OldestSnapshot = int64(n), e.Clock().Sub(s.begun)
	}
	m.MemoryBytes = e.memory.Load()
	m.Compaction, m.GC = e.compactionMetrics(), e.gcMetrics()
	m.Downloads = e.downloads.metrics()
	m.Uploads = e.uploads.metrics()
	m.L0Height, m.L0Layers = e.heights.get()
	if e.Reserve != nil {
		m.ReserveBytes = e.Reserve.Held()
	}
	return m
}

// Close closes what the timelines share. Reads that still run keep it until they end.
func (e *Env) Close() error { return e.release() }

// SetGeneration says which generation the layers have that timelines of a tenant write which are made or opened from now on.
func (e *Env) SetGeneration(tenant page.TenantShardID, generation uint32) {
	e.generations.Store(tenant, generation)
}

// Generation is the generation of the layers that a tenant's timelines write.
func (e *Env) Generation(tenant page.TenantShardID) uint32 {
	if g, ok := e.generations.Load(tenant); ok {
		return g.(uint32)
	}
	return localGeneration
}

// release gives up one hold; the last one's closes all.
func (e *Env) release() error {
	if e.holds.Add(-1) > 0 {
		return nil
	}
	if e.downloads != nil {
		e.downloads.tasks.Stop()
	}
	e.uploads.stop()
	if e.mems != nil {
		e.mems.Close()
	}
	return errors.Join(e.Blocks.Close(), e.Disk.Close())
}

// leftOver reports a file that a crash left behind and that has been removed.
func (e *Env) leftOver(file, reason string) {
	e.Logger.Info("removed a left-over file", "file", file, "reason", reason)
	if e.Events.LeftOver != nil {
		e.Events.LeftOver(LeftOverInfo{File: file, Reason: reason})
	}
}

// LeftOver reports a file that a crash left behind and that the caller has removed.
func (e *Env) LeftOver(file, reason string) { e.leftOver(file, reason) }

// SetAside moves a file or folder that nobody knows out of the way and reports it. Where that cannot be done
// it stays: it is in nobody's way but a human's.
func (e *Env) SetAside(path, reason string) {
	info := LeftOverInfo{File: path, Reason: reason}
	if !e.ReadOnly {
		info.MovedTo, info.Err = virtualfile.SetAside(e.FS, path)
	}
	e.Logger.Warn("found what is none of the store's", "file", path, "reason", reason, "moved_to", info.MovedTo, "err", info.Err)
	if e.Events.LeftOver != nil {
		e.Events.LeftOver(info)
	}
}
