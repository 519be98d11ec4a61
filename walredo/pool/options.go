package pool

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/walredo"
)

// Command is how to start a worker.
type Command struct {
	// Path of the program. It is not looked up in PATH.
	Path string
	// Args behind the program's name.
	Args []string
	// Dir to start it in; default "/".
	Dir string
	// Env is the whole environment; default empty.
	Env []string
	// User to run it as, for servers that refuse root; nil for our own.
	User *User
}

// User is who a process runs as.
type User struct{ UID, GID uint32 }

// Worker is what the pool runs.
type Worker struct {
	// Command gives the command line of a worker for a kind of cluster. An error that wraps
	// walredo.ErrUnsupported says that there is none.
	// It is called at every launch, by one goroutine at a time for each kind.
	Command func(walredo.Kind) (Command, error)
}

// Policy is how much trouble a request is worth.
type Policy struct {
	// Attempts is how many processes may fail at the request before it fails; default 3. 1 is for work that may
	// as well be done another time.
	Attempts int
	// Timeout is the longest that a request takes, all attempts and waiting included. Default 60 s;
	// longer than what a read's client waits is wasted work, shorter than a launch fails all first requests.
	Timeout time.Duration
}

// Options say how a pool works. Worker is required.
type Options struct {
	Worker Worker
	// Processes is the most of one kind, or of one kind for each tenant; default 1. More than processors do not help.
	Processes int
	// PerTenant gives each tenant processes of its own, so that no process ever sees the pages of two.
	PerTenant bool
	// MaxRequests is the most requests in processes or on the way there; default 256 for each process. Others wait.
	MaxRequests int
	// MaxBytes is the most memory of requests in processes or on the way there; default 64 MiB. Others
	// wait; a larger one passes alone.
	MaxBytes int64
	// MaxRequest is the largest request, in bytes on the wire, that is sent at all; default 512 MiB.
	MaxRequest int64
	// Policy of requests made through Redo.
	Policy Policy
	// StallTimeout is how long a process with requests may answer nothing before it is replaced;
	// default 10 s. Shorter than the longest request takes kills processes that work.
	StallTimeout time.Duration
	// IdleTimeout is how long a process without requests is kept; default 180 s.
	IdleTimeout time.Duration
	// LaunchTimeout is how long a process may take to answer its first ping; default 10 s.
	LaunchTimeout time.Duration
	// MinBackoff and MaxBackoff bound the pause after a failed launch, which doubles with each; defaults
	// 50 ms and 5 s.
	MinBackoff, MaxBackoff time.Duration
	// Logger gets launches, deaths and what processes write on stderr; default none.
	Logger *slog.Logger
	// Clock tells when a process was last used, and when a launch may be tried again; default the machine's.
	Clock clock.Clock
}

// Defaults, with their reasons where they are documented.
const (
	defaultPerProcess    = 256
	defaultMaxBytes      = 64 << 20
	defaultMaxRequest    = 512 << 20
	defaultAttempts      = 3
	defaultTimeout       = 60 * time.Second
	defaultStallTimeout  = 10 * time.Second
	defaultIdleTimeout   = 180 * time.Second
	defaultLaunchTimeout = 10 * time.Second
	defaultMinBackoff    = 50 * time.Millisecond
	defaultMaxBackoff    = 5 * time.Second
)

func orDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (p Policy) withDefaults() Policy {
	orDefault(&p.Attempts, defaultAttempts)
	orDefault(&p.Timeout, defaultTimeout)
	return p
}

func (o Options) withDefaults() Options {
	orDefault(&o.Processes, 1)
	orDefault(&o.MaxRequests, defaultPerProcess*o.Processes)
	orDefault(&o.MaxBytes, defaultMaxBytes)
	orDefault(&o.MaxRequest, defaultMaxRequest)
	o.Policy = o.Policy.withDefaults()
	orDefault(&o.StallTimeout, defaultStallTimeout)
	orDefault(&o.IdleTimeout, defaultIdleTimeout)
	orDefault(&o.LaunchTimeout, defaultLaunchTimeout)
	orDefault(&o.MinBackoff, defaultMinBackoff)
	orDefault(&o.MaxBackoff, max(defaultMaxBackoff, o.MinBackoff))
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	return o
}

// Validate reports all that is wrong with the options.
func (o Options) Validate() error {
	var errs []error
	if o.Worker.Command == nil {
		errs = append(errs, errors.New("Worker.Command is nil: there is nothing to launch"))
	}
	for _, x := range []struct {
		name  string
		value int64
	}{
		{"Processes", int64(o.Processes)}, {"MaxRequests", int64(o.MaxRequests)}, {"MaxBytes", o.MaxBytes},
		{"MaxRequest", o.MaxRequest}, {"Policy.Attempts", int64(o.Policy.Attempts)}, {"Policy.Timeout", int64(o.Policy.Timeout)},
		{"StallTimeout", int64(o.StallTimeout)}, {"IdleTimeout", int64(o.IdleTimeout)},
		{"LaunchTimeout", int64(o.LaunchTimeout)}, {"MinBackoff", int64(o.MinBackoff)}, {"MaxBackoff", int64(o.MaxBackoff)},
	} {
		if x.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %d: want 0 for the default, or more", x.name, x.value))
		}
	}
	if o.MaxBackoff != 0 && o.MaxBackoff < o.MinBackoff {
		errs = append(errs, fmt.Errorf("MaxBackoff %v is below MinBackoff %v", o.MaxBackoff, o.MinBackoff))
	}
	return errors.Join(errs...)
}

// share makes the budget of request memory.
func (o Options) share() (*budget.Share, error) {
	return budget.New(o.MaxBytes).Share("redo requests", o.MaxBytes)
}

var (
	// ErrClosed says that the pool was closed.
	ErrClosed = errors.New("the redo pool is closed")
	// ErrLaunch says that no process could be started.
	ErrLaunch = errors.New("no redo process could be started")
	// ErrProcess says that a process failed at the request.
	ErrProcess = errors.New("the redo process failed")
	// ErrTimeout says that Policy.Timeout was over.
	ErrTimeout = errors.New("redo took too long")
	// ErrTooLarge says that a request is larger than Options.MaxRequest.
	ErrTooLarge = errors.New("the redo request is too large")
)
