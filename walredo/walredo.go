// Package walredo builds a page from an older image of it and the records that changed it since. The
// engine asks a Redoer; walredo/native is redo in Go.
package walredo

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Record is one change of the requested key.
type Record struct {
	LSN   page.LSN // end of the WAL record
	Value page.Value
}

// Request asks for one page.
type Request struct {
	// Tenant is whose page it is: a pool may give each processes of its own.
	Tenant  page.TenantID
	Key     page.Key
	LSN     page.LSN // the page is wanted as of here; for messages only
	Version pg.Version
	Flavour pg.Flavour
	// Checksums says that the cluster has data checksums or wal_log_hints on, under which some records set
	// pd_lsn that otherwise leave it alone (XLogHintBitIsNeeded).
	Checksums bool
	// Base is the image to start from, or nil where the first record initializes the page. It is not
	// changed.
	Base []byte
	// Records are in ascending LSN order, all above the base image's LSN. The slices in them are not
	// changed and not kept.
	Records []Record
}

// Redoer applies records to pages. It may be used from many goroutines at once.
type Redoer interface {
	// Redo appends the resulting page to dst and returns the extended slice. The page is pg.BlockSize long,
	// or 8 bytes longer for a commit log page with a timestamp. Errors are *Error.
	Redo(ctx context.Context, dst []byte, req *Request) ([]byte, error)
	// Close ends whatever the Redoer runs. It may be called twice.
	Close() error
}

// Error says which record could not be applied to which page.
type Error struct {
	Key  page.Key
	LSN  page.LSN // end of the record, 0 if no single record is to blame
	Rmgr pg.Rmgr
	Info uint8
	Err  error
}

// Error names page, record and reason.
func (e *Error) Error() string {
	if e.LSN == 0 {
		return fmt.Sprintf("redo of %s: %v", e.Key.Describe(), e.Err)
	}
	return fmt.Sprintf("redo of %s: %s record (info %02X) ending at %s: %v", e.Key.Describe(), e.Rmgr, e.Info, e.LSN, e.Err)
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

var (
	// ErrUnsupported marks a record type that this Redoer cannot apply.
	ErrUnsupported = errors.New("no redo for this record type")
	// ErrCorrupt marks a record that does not fit its page, or one that makes no sense.
	ErrCorrupt = errors.New("record does not fit its page")
	// ErrNoBase marks records that need an image to start from and have none.
	ErrNoBase = errors.New("no image to apply the records to")
)
