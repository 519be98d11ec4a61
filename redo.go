package strata

import (
	"errors"
	"fmt"
	"time"

	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/chooser"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/pool"
)

// RedoMode says who applies WAL records to pages.
type RedoMode uint8

const (
	// RedoNative is redo in Go, in this process. Records that it does not know fail the reads that need them.
	RedoNative RedoMode = iota
	// RedoNativeFirst is redo in Go, and in processes for the types of records that it does not know, such as those
	// of extensions.
	RedoNativeFirst
	// RedoPool is redo in processes, and in Go for what no process does: commit logs, maps, truncation.
	RedoPool
	// RedoVerify does each page in both ways. A read fails if they differ under PostgreSQL's masks.
	RedoVerify
)

var redoModes = [...]string{RedoNative: "native", RedoNativeFirst: "native-first", RedoPool: "pool", RedoVerify: "verify"}

// String gives the word that MarshalText and UnmarshalText use.
func (m RedoMode) String() string {
	if int(m) < len(redoModes) {
		return redoModes[m]
	}
	return fmt.Sprintf("RedoMode(%d)", uint8(m))
}

// MarshalText implements encoding.TextMarshaler.
func (m RedoMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *RedoMode) UnmarshalText(b []byte) error {
	for i, word := range redoModes {
		if string(b) == word {
			*m = RedoMode(i)
			return nil
		}
	}
	return fmt.Errorf("redo %q: want one of %q", b, redoModes)
}

// RedoOptions say how records are applied. The zero value is redo in Go.
type RedoOptions struct {
	Mode RedoMode
	// Worker is the command line that starts a redo process: words between spaces, the program by its full path,
	// without a shell. {pg} in it stands for the major version, {flavour} for stock or neon, {checksums} for true or false.
	// It is required but for RedoNative. docs/operating.md has those that are known to work.
	Worker string
	// WorkerEnv is the whole environment of the processes.
	WorkerEnv []string
	// Processes is the most for each kind of cluster, or of each tenant; default 1, at most 1024. More than
	// processors do not help.
	Processes int
	// PerTenant gives each tenant processes of its own, so that no process ever sees the pages of two.
	PerTenant bool
	// MaxRequests is how many requests may be in processes or on the way there; default 256 for each process. Others
	// wait.
	MaxRequests int
	// MaxBytes is the memory of those requests, on top of Options.Memory; default 64 MiB. Others wait.
	MaxBytes int64
	// RequestTimeout is the longest that one page may take, all waiting and attempts included; default 60 s.
	// Shorter than a launch fails all first requests.
	RequestTimeout time.Duration
	// Attempts is how many processes may fail at a request before it fails; default 3.
	Attempts int
	// StallTimeout is how long a process may answer nothing before it is replaced; default 10 s.
	StallTimeout time.Duration
	// IdleTimeout is how long a process that nobody needs is kept; default 180 s.
	IdleTimeout time.Duration
}

// RedoMetrics are the counters of redo processes since the store was opened; all zero without.
type RedoMetrics struct {
	Pool   pool.Metrics
	Choice chooser.Metrics
}

const maxRedoProcesses = 1024

// chooserModes are the modes that need processes.
var chooserModes = map[RedoMode]chooser.Mode{
	RedoNativeFirst: chooser.NativeFirst, RedoPool: chooser.PoolFirst, RedoVerify: chooser.Verify,
}

func (r *RedoOptions) validate() []error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("strata.Options.Redo."+format, args...))
	}
	if int(r.Mode) >= len(redoModes) {
		bad("Mode is %d: want one of the RedoModes", r.Mode)
	}
	if _, processes := chooserModes[r.Mode]; !processes && r.Worker != "" {
		bad("Worker is set with Mode %s, which has no processes", r.Mode)
	} else if processes && r.Worker == "" {
		bad("Worker is empty: Mode %s needs a command that starts processes", r.Mode)
	} else if _, err := pool.External(r.Worker); processes && err != nil {
		bad("Worker: %w", err)
	}
	for _, x := range []struct {
		name  string
		value int64
	}{
		{"MaxRequests", int64(r.MaxRequests)}, {"MaxBytes", r.MaxBytes}, {"RequestTimeout", int64(r.RequestTimeout)},
		{"Attempts", int64(r.Attempts)}, {"StallTimeout", int64(r.StallTimeout)}, {"IdleTimeout", int64(r.IdleTimeout)},
	} {
		if x.value < 0 {
			bad("%s is %d: want 0 for the default, or more", x.name, x.value)
		}
	}
	if r.Processes < 0 || r.Processes > maxRedoProcesses {
		bad("Processes is %d: want 1 to %d, or 0 for the default", r.Processes, maxRedoProcesses)
	}
	return errs
}

// redo is what an engine applies records with.
type redo struct {
	walredo.Redoer
	choice *chooser.Redoer
	pool   *pool.Pool
}

// openRedo gives Options.Redoer, or makes one as Options.Redo says.
func openRedo(o *Options) (redo, error) {
	switch mode, processes := chooserModes[o.Redo.Mode]; {
	case o.Redoer != nil:
		return redo{Redoer: o.Redoer}, nil
	case !processes:
		return redo{Redoer: native.New()}, nil
	default:
		r := &o.Redo
		worker, err := pool.External(r.Worker, r.WorkerEnv...)
		if err != nil {
			return redo{}, err
		}
		p, err := pool.New(pool.Options{
			Worker: worker, Processes: r.Processes, PerTenant: r.PerTenant, MaxRequests: r.MaxRequests, MaxBytes: r.MaxBytes,
			Policy:       pool.Policy{Attempts: r.Attempts, Timeout: r.RequestTimeout},
			StallTimeout: r.StallTimeout, IdleTimeout: r.IdleTimeout, Logger: o.Logger,
		})
		if err != nil {
			return redo{}, errors.Join(errors.New("strata.Options.Redo"), err)
		}
		c := chooser.New(native.New(), p, mode)
		return redo{c, c, p}, nil
	}
}

// RedoMetrics gives the counters of redo processes.
func (e *Engine) RedoMetrics() (m RedoMetrics) {
	if e.redo.pool != nil {
		m.Pool, m.Choice = e.redo.pool.Metrics(), e.redo.choice.Metrics()
	}
	return m
}
