package strata

import (
	"context"
	"log/slog"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/receive"
)

// ReceiveOptions say which server to follow.
type ReceiveOptions struct {
	// Source is a libpq connection string or URL of a running server of the timeline's cluster.
	Source string
	// Slot is the physical replication slot, which is made if it is not there. The server keeps the WAL
	// that is not durable here yet.
	Slot string
	// Until, if not 0, is where to stop: at the last record that ends at or before it.
	Until page.LSN
	// AncestorWAL is IngestOptions.AncestorWAL.
	AncestorWAL bool
	// Progress, if set, is called about once a second, from the goroutine that called Receive.
	Progress func(ReceiveProgress)
	// Logger gets a line for each connection made and lost; default: none.
	Logger *slog.Logger
}

// ReceiveProgress says how far the stream is.
type ReceiveProgress struct {
	LSN     page.LSN // end of the last record taken in
	Durable page.LSN // up to here the slot may advance
	Records int64
	Bytes   int64 // of WAL
}

// ReceiveResult is what was taken in by one call.
type ReceiveResult struct {
	LSN     page.LSN // where the timeline ends now
	Records int64
	Bytes   int64 // of WAL
}

// Receive follows a running server by physical streaming replication until Until is reached or ctx ends;
// neither is an error, and what was taken in is then durable. Broken connections are made again.
func (tl *Timeline) Receive(ctx context.Context, o ReceiveOptions) (ReceiveResult, error) {
	i := tl.Info()
	ro := receive.Options{
		Store: tl, ConnInfo: o.Source, Slot: o.Slot, Until: o.Until, Logger: o.Logger,
		Version: i.Version, Flavour: i.Flavour, SegSize: i.WALSegSize, SystemID: i.SystemID, Shutdown: tl.backups.shutdownOf(tl),
		Origin: tl.origin(o.AncestorWAL),
	}
	if o.Progress != nil {
		ro.Progress = func(p receive.Progress) {
			o.Progress(ReceiveProgress{LSN: p.LSN, Durable: p.Durable, Records: p.Records, Bytes: p.Bytes})
		}
	}
	r, err := receive.Run(ctx, ro)
	return ReceiveResult{LSN: r.LSN, Records: r.Records, Bytes: r.Bytes}, err
}
