package virtualfile

import (
	"fmt"
	"os"
)

// uringSwitch is the environment variable that forbids io_uring if it says "off": for operators whose kernel
// has a fault in it, and for tests.
const uringSwitch = "STRATA_IO_URING"

// newEngine makes the engine that was asked for. Where io_uring is not to be had, because of the kernel, a
// container's filter, a sysctl or a limit, stdEngine takes its place: with a warning if it was asked for by
// name, and in any case with a word to DiskOptions.Fallback. The default is io_uring, which is two to three times as fast from eight readers on and for batches,
// at a third to a half of the CPU per read; it costs a twentieth at depth 1 (see uring).
func newEngine(o DiskOptions) (engine, error) {
	if o.Engine == EngineStd {
		return newStdEngine(), nil
	}
	e, err := openURing(o.Logger)
	if err == nil {
		return e, nil
	}
	if o.Fallback != nil {
		o.Fallback(err)
	}
	if o.Engine == EngineURing {
		o.Logger.Warn("io_uring is not available, reads and writes go without it", "error", err)
	}
	return newStdEngine(), nil
}

// uringOff tells that io_uring was forbidden from outside.
func uringOff() bool { return os.Getenv(uringSwitch) == "off" }

// String gives the name that options and metrics have for the engine.
func (k EngineKind) String() string {
	switch k {
	case EngineDefault:
		return "default"
	case EngineStd:
		return "std"
	case EngineURing:
		return "uring"
	}
	return fmt.Sprintf("EngineKind(%d)", uint8(k))
}
