package receive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/ingest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Options say what to follow and where to put it. Store, ConnInfo, Slot, Version, SegSize and SystemID must
// be set.
type Options struct {
	// Store takes the WAL. Nothing else may write to it meanwhile.
	Store Store
	// ConnInfo is a libpq connection string or URL. The replication parameter is set by Run.
	ConnInfo string
	// Slot names the physical replication slot; it is made, with its WAL reserved, if it is not there.
	Slot string
	// Version, Flavour, SegSize and SystemID are the timeline's: a server that differs is refused.
	Version  pg.Version
	Flavour  pg.Flavour
	SegSize  uint32
	SystemID uint64
	// PGTimeline is PostgreSQL's timeline id at the store's last record; 0 means that of the store's
	// checkpoint.
	PGTimeline uint32
	// Until, if not 0, ends Run after the last record that ends at or before it.
	Until page.LSN
	// StatusInterval is the longest pause between two status messages; default 10 s. It must be well below
	// the server's wal_sender_timeout (60 s by default), or the server breaks the connection.
	StatusInterval time.Duration
	// FlushInterval is how often the store is asked to make what it has durable when the stream is slower
	// than the store's own checkpoints; default 1 min, negative means never. Without it a quiet server
	// would have to keep its WAL until the store flushes by itself.
	FlushInterval time.Duration
	// RetryMin and RetryMax bound the pause before a broken connection is made again; defaults 250 ms, 30 s.
	RetryMin, RetryMax time.Duration
	// MaxRetries is how many connections in a row may break without a record in between before Run gives
	// up; default 0, which means that it never does. The first connection is never tried again.
	MaxRetries int
	// Origin and Shutdown are those of ingest.Options.
	Origin   ingest.Origin
	Shutdown func(end page.LSN)
	// Progress, if set, is called about once a second and at the end, from Run's goroutine.
	Progress func(Progress)
	// Logger gets a line for each connection made and lost; nil means none.
	Logger *slog.Logger
}

// Progress says how far the stream was taken in.
type Progress struct {
	LSN       page.LSN // end of the last record put into the store
	Durable   page.LSN // up to here the slot may advance
	ServerEnd page.LSN // end of the server's WAL when it last said so
	Records   int64
	Bytes     int64 // WAL received
}

// Result is what Run did.
type Result struct {
	LSN     page.LSN // end of the last record put into the store
	Records int64
	Bytes   int64 // WAL received
}

// Store is a timeline as Run needs it.
type Store interface {
	datadir.Store
	// DiskConsistentLSN is up to where everything put would survive a crash now.
	DiskConsistentLSN() page.LSN
	// Flush makes everything put so far durable.
	Flush(ctx context.Context) error
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&o.StatusInterval, 10*time.Second)
	set(&o.FlushInterval, time.Minute)
	set(&o.RetryMin, 250*time.Millisecond)
	set(&o.RetryMax, 30*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// maxSlotName is NAMEDATALEN-1 of a stock server.
const maxSlotName = 63

// checkSlotName follows ReplicationSlotValidateName: the name goes into a command unquoted.
func checkSlotName(s string) error {
	if s == "" || len(s) > maxSlotName {
		return fmt.Errorf("slot name %q: want 1 to %d characters", s, maxSlotName)
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return fmt.Errorf("slot name %q: only lower-case letters, digits and underscores are allowed", s)
		}
	}
	return nil
}

// validate reports all faults at once.
func (o Options) validate() error {
	var errs []error
	if o.Store == nil {
		errs = append(errs, errors.New("receive.Options.Store is not set"))
	}
	if o.ConnInfo == "" {
		errs = append(errs, errors.New("receive.Options.ConnInfo is not set"))
	}
	if err := checkSlotName(o.Slot); err != nil {
		errs = append(errs, fmt.Errorf("receive.Options.Slot: %w", err))
	}
	if !o.Version.Supported() {
		errs = append(errs, fmt.Errorf("receive.Options.Version %d: %w", o.Version, pg.ErrUnsupportedVersion))
	}
	if o.SystemID == 0 {
		errs = append(errs, errors.New("receive.Options.SystemID is not set"))
	}
	if o.SegSize == 0 || o.SegSize&(o.SegSize-1) != 0 {
		errs = append(errs, fmt.Errorf("receive.Options.SegSize is %d: want a power of two", o.SegSize))
	}
	if o.StatusInterval < 0 || o.RetryMin < 0 || o.RetryMax < o.RetryMin {
		errs = append(errs, fmt.Errorf("receive.Options.StatusInterval %v, RetryMin %v, RetryMax %v: want none negative and RetryMax at least RetryMin",
			o.StatusInterval, o.RetryMin, o.RetryMax))
	}
	return errors.Join(errs...)
}
