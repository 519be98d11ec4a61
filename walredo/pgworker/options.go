package pgworker

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/stratapg/strata/pg"
)

// Options are what Run needs to know.
type Options struct {
	Server
	Version pg.Version
	// Checksums says that the cluster whose records come has data checksums or wal_log_hints.
	Checksums bool
	// ReportFailures answers failure pages instead of ending.
	ReportFailures bool
	// MemoryMiB is the most private memory of the process, and CPU the most processor time in its life.
	MemoryMiB uint64
	CPU       time.Duration
}

// Usual bounds of a worker. A server needs about 20 MiB, a request its longest record twice.
const (
	usualMemoryMiB = 2048
	usualCPU       = time.Hour
)

// Register makes flags of the options, those that Worker gives.
func (o *Options) Register(f *flag.FlagSet) {
	f.Func("pg", "PostgreSQL version of the WAL and of the server, 14 to 17 (required)", func(s string) error {
		_, err := fmt.Sscan(s, &o.Version)
		return err
	})
	f.StringVar(&o.Bin, "bin", DefaultBin, "folder of the server's postgres and initdb")
	f.StringVar(&o.Extension, "extension", DefaultExtension, "our library: its file, or its name in the server's library folder")
	f.StringVar(&o.Scratch, "scratch", "", "folder for data directories, one for each worker that runs at a time (required)")
	f.StringVar(&o.User, "user", DefaultUser, "account to run the server as, when started by root")
	f.BoolVar(&o.Checksums, "checksums", false, "the cluster has data checksums or wal_log_hints")
	f.BoolVar(&o.ReportFailures, "report-failures", false, "answer what cannot be redone with a page that says why, instead of an exit")
	f.Uint64Var(&o.MemoryMiB, "memory-mib", usualMemoryMiB, "most memory to use, in MiB")
	f.DurationVar(&o.CPU, "cpu", usualCPU, "most processor time to use in all")
}

// Validate reports all that is wrong.
func (o Options) Validate() error {
	var errs []error
	if !o.Version.Supported() {
		errs = append(errs, fmt.Errorf("--pg %d: %w", o.Version, pg.ErrUnsupportedVersion))
	}
	if o.Scratch == "" {
		errs = append(errs, errors.New("--scratch is empty: want a folder for data directories"))
	}
	if o.MemoryMiB == 0 || o.CPU < time.Second {
		errs = append(errs, fmt.Errorf("--memory-mib %d and --cpu %s: want at least 1 and 1s", o.MemoryMiB, o.CPU))
	}
	return errors.Join(errs...)
}
