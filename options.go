package strata

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
	"github.com/stratapg/strata/walredo"
)

// Options say which store to open, and how. Dir must be set; the rest have useful zeros.
type Options struct {
	// Dir is the store's directory.
	Dir string
	// CreateIfMissing makes a store where Dir does not exist or is empty. Without it that is ErrNotAStore,
	// so that a mistyped path is no new store.
	CreateIfMissing bool
	// ReadOnly changes nothing on disk, but that layers which are in remote storage only are fetched when they are read. Methods
	// that would change more fail with ErrReadOnly. Many readers may have a store open at once, but none beside a writer.
	ReadOnly bool
	// AllowDamaged opens a store some of whose layer files are missing or damaged, so that what is sound can be
	// read and the rest be found (VerifyLayer). Reads that need a damaged layer fail. It goes with ReadOnly.
	AllowDamaged bool
	// Strict fails Open if a timeline or tenant cannot be opened. Without it that one alone is StateBroken, and all others are
	// as they were.
	Strict bool
	// FS is where Dir is; default: the operating system's files.
	FS virtualfile.FS

	// CheckpointDistance is how many bytes of WAL, or of values, a timeline gathers in memory before it
	// writes them as a layer; default 256 MiB, at least 64 KiB, at most 16 GiB. Small ones make many layers
	// to search, large ones cost memory (MaxFrozenLayers+1 times as much for each timeline that is written
	// to) and WAL to ingest again after a crash.
	CheckpointDistance int64
	// CheckpointTimeout is the age at which what is in memory is written in any case; default every 10
	// minutes, Every(0) is never. It bounds how far a crash sets back a timeline with little traffic.
	CheckpointTimeout Period
	// MaxFrozenLayers is how many full in-memory layers of a timeline may wait to be written before Put
	// waits; default 2, at most 64. 1 makes ingest stop for every write.
	MaxFrozenLayers int
	// Pressure slows Put down as debt grows, and stops it at a limit. Default: UnflushedStop is as much as the
	// open layer and MaxFrozenLayers frozen ones; there are no limits on the height of the L0 stack.
	Pressure Pressure
	// Memory is what the engine may hold in large buffers and caches, of all timelines together; default 1
	// GiB, at least 64 MiB. Half of it is for values not yet written, which go to a scratch file beyond that, a
	// quarter for compaction, seven 64ths for index blocks, a sixteenth each for reads in flight and for
	// transfers, a 64th for sizes of relations. Nearly all of it lies outside the Go heap: docs/design/memory.md tells how to set GOMEMLIMIT.
	Memory int64
	// MaxOpenFiles bounds the descriptors of layer files that are kept open, of all timelines together; at least
	// 8. Default: what the process's limit leaves room for. Layers beyond it are opened again when they are read.
	MaxOpenFiles int
	// DiskReserve is the space held back in the store, so that on a full disk manifests can still be written;
	// default 16 MiB. A negative one is none.
	DiskReserve int64
	// RefuseOnFullDisk has Put fail with the reason while the disk is full. Without it Put goes on for as long as memory has
	// room, waits then until the disk has some too, or its context ends, and goes on by itself.
	RefuseOnFullDisk bool
	// MaxSnapshotAge ends snapshots that are older; 0 ends none.
	MaxSnapshotAge time.Duration
	// MaxHeldBytes ends the oldest snapshots while layers of so many bytes, in memory or on disk, are held for
	// readers alone; 0 ends none.
	MaxHeldBytes int64
	// IOMode says which layer files go past the kernel's page cache; default: those read and those written, where
	// the platform can.
	IOMode virtualfile.Mode
	// IOEngine says how reads reach the kernel; default: the one that measurements favour, where it is allowed.
	IOEngine virtualfile.EngineKind
	// NoChecksums leaves the integrity trailer out of layers that are written from now on, as in Neon's files: they
	// are some 0.8 % smaller, and what a disk does to them is found by chance only. Layers that have a trailer stay
	// checked, whatever it says.
	NoChecksums bool
	// ValidateIO checks every transfer of layer files against the alignment that direct I/O asks for, in every
	// mode. It is for tests; it costs little.
	ValidateIO bool
	// ImageLayerSize is how many stored bytes of pages an import puts into one file; default 128 MiB, at
	// least 64 KiB.
	ImageLayerSize int64
	// ImageCompression is how an import stores pages; default zstd level 1.
	ImageCompression layer.Compression

	// Tenant is the default tenant of a store that is made; default one drawn at random.
	Tenant page.TenantID
	// Remote says where layers are kept beside the local disk; default nowhere.
	Remote RemoteOptions

	// Compaction says how layers are made over in the background.
	Compaction Compaction
	// GC says how much history stays readable.
	GC GarbageCollection

	// BackupCache keeps base backups of stopped clusters on the local disk; by default it is off.
	BackupCache BackupCacheOptions

	// Redo says who applies WAL records to pages: this process, which is the default, others, or both.
	Redo RedoOptions
	// Redoer applies WAL records to pages instead of what Redo says. Engine.Close does not close it.
	Redoer walredo.Redoer

	// Logger takes what an operator should know; default: nothing is logged.
	Logger *slog.Logger
	// Registerer, if set, gets the metrics that Engine.Metrics also gives; Close takes them out again.
	Registerer prometheus.Registerer
	// Events are called as things happen.
	Events Events
}

// Defaults and bounds of Options.
const (
	defaultCheckpointDistance = 256 << 20
	minCheckpointDistance     = 64 << 10
	maxCheckpointDistance     = 16 << 30
	defaultCheckpointTimeout  = 10 * time.Minute
	defaultMaxFrozenLayers    = 2
	maxMaxFrozenLayers        = 64
	defaultMemory             = 1 << 30
	minMemory                 = 64 << 20
	defaultDiskReserve        = 16 << 20
	maxDiskReserve            = 16 << 30
	minMaxOpenFiles           = 8
	maxMaxOpenFiles           = 1 << 20
	defaultImageLayerSize     = 128 << 20
	minImageLayerSize         = 64 << 10
	maxImageLayerSize         = 16 << 30
	maxImageCompression       = 22 // zstd's
)

// withDefaults gives a copy with every zero replaced.
func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = virtualfile.NewOS()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	orDefault(&o.CheckpointDistance, defaultCheckpointDistance)
	orDefault(&o.MaxFrozenLayers, defaultMaxFrozenLayers)
	orDefault(&o.CheckpointTimeout, Every(defaultCheckpointTimeout))
	orDefault(&o.Pressure.UnflushedStop, int64(o.MaxFrozenLayers+1)*o.CheckpointDistance)
	orDefault(&o.Memory, defaultMemory)
	orDefault(&o.DiskReserve, defaultDiskReserve)
	o.DiskReserve = max(o.DiskReserve, 0)
	orDefault(&o.ImageLayerSize, defaultImageLayerSize)
	orDefault(&o.Compaction.Period, Every(defaultCompactionPeriod))
	o.GC = o.GC.withDefaults()
	return o
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Validate reports every fault at once. Zeros that have a default are none.
func (o Options) Validate() error {
	var errs []error
	if o.Dir == "" {
		errs = append(errs, errors.New("strata.Options.Dir is empty: it must name the store's directory"))
	}
	if o.ReadOnly && o.CreateIfMissing {
		errs = append(errs, errors.New("strata.Options.ReadOnly and CreateIfMissing are both set: they exclude each other"))
	}
	if o.AllowDamaged && !o.ReadOnly {
		errs = append(errs, errors.New("strata.Options.AllowDamaged is set without ReadOnly: a damaged store is not written to"))
	}
	bound := func(name string, v, low, high int64) {
		if v != 0 && (v < low || v > high) {
			errs = append(errs, fmt.Errorf("strata.Options.%s is %d: want %d to %d, or 0 for the default", name, v, low, high))
		}
	}
	bound("CheckpointDistance", o.CheckpointDistance, minCheckpointDistance, maxCheckpointDistance)
	bound("MaxFrozenLayers", int64(o.MaxFrozenLayers), 1, maxMaxFrozenLayers)
	bound("Pressure.UnflushedStop", o.Pressure.UnflushedStop, minCheckpointDistance, math.MaxInt64)
	bound("Pressure.L0Slow", int64(o.Pressure.L0Slow), 1, math.MaxInt32)
	bound("Pressure.L0Stop", int64(o.Pressure.L0Stop), 1, math.MaxInt32)
	if o.Pressure.L0Slow > 0 && o.Pressure.L0Slow >= o.Pressure.L0Stop {
		errs = append(errs, fmt.Errorf("strata.Options.Pressure.L0Slow is %d: want less than L0Stop, which is %d", o.Pressure.L0Slow, o.Pressure.L0Stop))
	}
	if d := o.CheckpointTimeout.d; d < 0 {
		errs = append(errs, fmt.Errorf("strata.Options.CheckpointTimeout is Every(%s): want Every(0) for never, or more", d))
	}
	bound("DiskReserve", o.DiskReserve, math.MinInt64, maxDiskReserve)
	bound("Memory", o.Memory, minMemory, math.MaxInt64/16)
	bound("MaxOpenFiles", int64(o.MaxOpenFiles), minMaxOpenFiles, maxMaxOpenFiles)
	bound("ImageLayerSize", o.ImageLayerSize, minImageLayerSize, maxImageLayerSize)
	bound("MaxSnapshotAge", int64(o.MaxSnapshotAge), 1, math.MaxInt64)
	bound("MaxHeldBytes", o.MaxHeldBytes, 1, math.MaxInt64)
	bound("ImageCompression.Level", int64(o.ImageCompression.Level), 1, maxImageCompression)
	errs = append(errs, o.Compaction.validate(), o.GC.validate(), o.Remote.validate(), o.BackupCache.validate())
	if o.IOMode > virtualfile.DirectRW {
		errs = append(errs, fmt.Errorf("strata.Options.IOMode is %d: want one of virtualfile's modes", o.IOMode))
	}
	if o.IOEngine > virtualfile.EngineURing {
		errs = append(errs, fmt.Errorf("strata.Options.IOEngine is %d: want one of virtualfile's engines", o.IOEngine))
	}
	errs = append(errs, o.Redo.validate()...)
	if o.Redoer != nil && o.Redo.Mode != RedoNative {
		errs = append(errs, errors.New("strata.Options.Redoer and Redo.Mode are both set: they exclude each other"))
	}
	return errors.Join(errs...)
}

// Period is how often something happens in the background. The zero value is the default of the option that
// it is given for; Every makes others.
type Period struct {
	set bool
	d   time.Duration
}

// Every is a period of d; of 0, never.
func Every(d time.Duration) Period { return Period{set: true, d: d} }

// String gives the duration, "never" or "default".
func (p Period) String() string {
	switch {
	case !p.set:
		return "default"
	case p.d == 0:
		return "never"
	}
	return p.d.String()
}
