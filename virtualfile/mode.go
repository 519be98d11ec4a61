package virtualfile

import (
	"fmt"
	"runtime"
)

// Mode says which files bypass the kernel's page cache.
type Mode uint8

const (
	// ModeDefault is DirectRW on Linux, Buffered elsewhere.
	ModeDefault Mode = iota
	// Buffered uses the page cache for all.
	Buffered
	// Direct bypasses it for files opened to be read.
	Direct
	// DirectRW bypasses it for reading and writing.
	DirectRW
)

// String gives the name that options use.
func (m Mode) String() string {
	switch m {
	case Buffered:
		return "buffered"
	case Direct:
		return "direct"
	case DirectRW:
		return "direct-rw"
	}
	return "default"
}

// resolve replaces the default by what it stands for.
func (m Mode) resolve() Mode {
	switch {
	case m != ModeDefault:
		return m
	case runtime.GOOS == "linux":
		return DirectRW
	}
	return Buffered
}

func (m Mode) validate() error {
	if m > DirectRW {
		return fmt.Errorf("virtualfile: mode %d is unknown", m)
	}
	return nil
}

// flags gives what a file is opened with beside what it is opened for.
func (m Mode) flags(write bool) Flags {
	if m == DirectRW || m == Direct && !write {
		return FlagDirect
	}
	return 0
}
