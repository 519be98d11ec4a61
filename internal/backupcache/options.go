package backupcache

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// Options say where backups are kept and within which limits. Dir must be set; the rest have useful zeros.
type Options struct {
	// Dir is the folder, which is made if need be. Files in it that are not the cache's stay as they are.
	Dir string
	// FS is where Dir is; default: the operating system's files. In others sendfile is not used.
	FS virtualfile.FS
	// Entries is how many backups are kept; default 10,000. Bytes is how long their files may be together; default 1 GiB.
	Entries int
	Bytes   int64
	// Preparations is how many backups are made at a time; default 2. Who comes when all are taken gets ErrMiss.
	Preparations int
	// Rest is for how long nothing is made after a write that failed; default 30 seconds.
	Rest time.Duration
	// Logger is told of damaged files and failed writes; default: nobody.
	Logger *slog.Logger
	// Clock tells the time; default: the machine's.
	Clock clock.Clock
}

// Defaults and bounds of Options.
const (
	defaultEntries      = 10_000
	maxEntries          = 1 << 20
	defaultBytes        = 1 << 30
	defaultPreparations = 2
	maxPreparations     = 64
	defaultRest         = 30 * time.Second
)

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = virtualfile.NewOS()
	}
	if o.Entries == 0 {
		o.Entries = defaultEntries
	}
	if o.Bytes == 0 {
		o.Bytes = defaultBytes
	}
	if o.Preparations == 0 {
		o.Preparations = defaultPreparations
	}
	if o.Rest == 0 {
		o.Rest = defaultRest
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	return o
}

// Validate reports every fault at once. Zeros that have a default are none.
func (o Options) Validate() error {
	var errs []error
	if o.Dir == "" {
		errs = append(errs, errors.New("the folder is not named"))
	}
	if o.Entries < 0 || o.Entries > maxEntries {
		errs = append(errs, fmt.Errorf("entries are limited to %d: want 1 to %d, or 0 for %d", o.Entries, maxEntries, defaultEntries))
	}
	if o.Bytes < 0 {
		errs = append(errs, fmt.Errorf("bytes are limited to %d: want 1 or more, or 0 for %d", o.Bytes, defaultBytes))
	}
	if o.Preparations < 0 || o.Preparations > maxPreparations {
		errs = append(errs, fmt.Errorf("preparations are limited to %d: want 1 to %d, or 0 for %d", o.Preparations, maxPreparations, defaultPreparations))
	}
	if o.Rest < 0 {
		errs = append(errs, fmt.Errorf("the rest after a failure is %s: want more than 0, or 0 for %s", o.Rest, defaultRest))
	}
	return errors.Join(errs...)
}

// Key names a backup. Two backups of one key have the same bytes.
type Key struct {
	Tenant   page.TenantID
	Timeline page.TimelineID
	LSN      page.LSN
	// Kind is all else that the bytes depend on, in words of the caller's; at most MaxKind bytes.
	Kind string
}

// MaxKind bounds the length of a Key's Kind.
const MaxKind = 1024

// Errors of a Cache.
var (
	// ErrMiss says that the backup is not there, and could not be put there: make it without the cache.
	ErrMiss = errors.New("not in the cache of base backups")
	// ErrDamaged says, in the middle of a backup that is being read, that its file is not what was written, or no longer.
	ErrDamaged = errors.New("cached base backup is damaged")
	// ErrClosed says that the cache was closed.
	ErrClosed = errors.New("cache of base backups is closed")
)

// Metrics are counts since Open, but for those said to be of now.
type Metrics struct {
	// Hits are backups that were there; Shared those that another one's preparation brought while it was waited for; Misses
	// the rest.
	Hits, Shared, Misses int64
	// Bypassed counts misses for which nothing was prepared, as all turns were taken, the cache rested, or it is too large.
	Bypassed int64
	// Evictions gave way to others; Damaged were not what had been written, or no longer there.
	Evictions, Damaged int64
	// Preparations were begun, and Failures of them failed. PreparedBytes is what was written.
	Preparations, Failures, PreparedBytes int64
	// Verified are bytes that were read to verify them before they were sent.
	Verified int64
	// RemoveFailures counts attempts to delete a file that failed; it counts among Bytes until one succeeds.
	RemoveFailures int64
	// Entries and Bytes are there now, and Running are the preparations of now. Their limits are behind.
	Entries, Bytes, Running                     int64
	EntriesLimit, BytesLimit, PreparationsLimit int64
}
