package sandbox

import (
	"errors"
	"slices"
	"time"
)

// Limits bound what the process may use.
type Limits struct {
	// Memory is the most bytes of private writable memory (RLIMIT_DATA); default 2 GiB. Go's runtime needs
	// about 32 MiB of it; a request needs its records and a page.
	Memory uint64
	// CPU is the most processor time in the process's whole life; default one hour. A pool replaces a
	// worker that ran out of it.
	CPU time.Duration
	// Processors that Go code may run on at once; default 1, as a worker is serial. Setting it keeps the
	// runtime from reading the cgroup's files later on.
	Processors int
}

// environment is all that a sandboxed process has of one: glibc reads a file when it makes its ninth heap.
var environment = []string{"MALLOC_ARENA_MAX=1"}

// Environment gives the environment that a sandboxed process should be started with.
func Environment() []string { return slices.Clone(environment) }

const (
	defaultMemory = 2 << 30
	defaultCPU    = time.Hour
)

func (l Limits) withDefaults() Limits {
	if l.Memory == 0 {
		l.Memory = defaultMemory
	}
	if l.Processors <= 0 {
		l.Processors = 1
	}
	if l.CPU == 0 {
		l.CPU = defaultCPU
	}
	return l
}

// State says which walls are up.
type State struct {
	Seccomp  bool
	Landlock string // "process", "thread", or "" where the kernel has none
}

// ErrUnavailable says that this system has no seccomp, or that we have no list for its processor.
var ErrUnavailable = errors.New("no sandbox here")
