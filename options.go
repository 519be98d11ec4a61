package strata

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratapg/strata/layer"
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
	// ReadOnly changes nothing on disk. Methods that would fail with ErrReadOnly. Many readers may have a
	// store open at once, but none beside a writer.
	ReadOnly bool
	// FS is where Dir is; default: the operating system's files.
	FS virtualfile.FS

	// CheckpointDistance is how many bytes of WAL, or of values, a timeline gathers in memory before it
	// writes them as a layer; default 256 MiB, at least 64 KiB, at most 16 GiB. Small ones make many layers
	// to search, large ones cost memory (MaxFrozenLayers+1 times as much for each timeline that is written
	// to) and WAL to ingest again after a crash.
	CheckpointDistance int64
	// MaxFrozenLayers is how many full in-memory layers of a timeline may wait to be written before Put
	// waits; default 2, at most 64. 1 makes ingest stop for every write.
	MaxFrozenLayers int
	// MaxOpenFiles bounds the layer files that are kept open, of all timelines together; default 512, at
	// least 8. Reads that need more at once go beyond it and close them afterwards.
	MaxOpenFiles int
	// ImageLayerSize is how many stored bytes of pages an import puts into one file; default 128 MiB, at
	// least 64 KiB.
	ImageLayerSize int64
	// ImageCompression is how an import stores pages; default zstd level 1.
	ImageCompression layer.Compression

	// Redoer applies WAL records to pages; default: redo in Go. Engine.Close does not close one given here.
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
	defaultMaxFrozenLayers    = 2
	maxMaxFrozenLayers        = 64
	defaultMaxOpenFiles       = 512
	minMaxOpenFiles           = 8
	maxMaxOpenFiles           = 1 << 20
	defaultImageLayerSize     = 128 << 20
	minImageLayerSize         = 64 << 10
	maxImageLayerSize         = 16 << 30
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
	orDefault(&o.MaxOpenFiles, defaultMaxOpenFiles)
	orDefault(&o.ImageLayerSize, defaultImageLayerSize)
	return o
}

func orDefault[T int | int64](v *T, d T) {
	if *v == 0 {
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
	bound := func(name string, v, low, high int64) {
		if v != 0 && (v < low || v > high) {
			errs = append(errs, fmt.Errorf("strata.Options.%s is %d: want %d to %d, or 0 for the default", name, v, low, high))
		}
	}
	bound("CheckpointDistance", o.CheckpointDistance, minCheckpointDistance, maxCheckpointDistance)
	bound("MaxFrozenLayers", int64(o.MaxFrozenLayers), 1, maxMaxFrozenLayers)
	bound("MaxOpenFiles", int64(o.MaxOpenFiles), minMaxOpenFiles, maxMaxOpenFiles)
	bound("ImageLayerSize", o.ImageLayerSize, minImageLayerSize, maxImageLayerSize)
	return errors.Join(errs...)
}
