package timeline

import (
	"log/slog"
	"sync/atomic"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/virtualfile"
	"github.com/stratapg/strata/walredo"
)

// Config is what the timelines of a store have in common. All fields must be set; numbers are positive.
type Config struct {
	FS                 virtualfile.FS
	ReadOnly           bool
	CheckpointDistance int64 // bytes of WAL or of values after which an in-memory layer is frozen
	MaxFrozen          int   // frozen layers that may wait before Put does
	MaxOpenFiles       int
	MinManifestRewrite int64
	Redoer             walredo.Redoer
	Logger             *slog.Logger
	Events             Events
	Clock              clock.Clock
}

// Env is a Config with what the timelines share at run time.
type Env struct {
	Config
	files    *files
	counters counters
	jobs     atomic.Uint64
	memory   atomic.Int64 // bytes in layers not yet written
}

// NewEnv makes the shared part of a store's timelines.
func NewEnv(c Config) *Env {
	e := &Env{Config: c}
	e.files = newFiles(c.FS, c.MaxOpenFiles, &e.counters.fileOpens)
	return e
}

// Metrics gives the counters as they are now.
func (e *Env) Metrics() Metrics {
	m := e.counters.snapshot()
	m.OpenFiles = e.files.count()
	m.MemoryBytes = e.memory.Load()
	return m
}

// Close closes the layer files that are open. Reads that still run keep theirs until they end.
func (e *Env) Close() error { return e.files.close() }

// leftOver reports a file that a crash left behind and that has been removed.
func (e *Env) leftOver(file, reason string) {
	e.Logger.Info("removed a left-over file", "file", file, "reason", reason)
	if e.Events.LeftOver != nil {
		e.Events.LeftOver(LeftOverInfo{File: file, Reason: reason})
	}
}

// LeftOver reports a file that a crash left behind and that the caller has removed.
func (e *Env) LeftOver(file, reason string) { e.leftOver(file, reason) }
