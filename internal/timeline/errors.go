package timeline

import (
	"errors"

	"github.com/stratapg/strata/internal/upload"
)

var (
	// ErrFutureLSN says that an LSN lies beyond the timeline's last record.
	ErrFutureLSN = errors.New("LSN is beyond the end of the timeline")
	// ErrBeforeHistory says that an LSN lies before what the timeline keeps.
	ErrBeforeHistory = errors.New("LSN is before the timeline's history")
	// ErrCorrupt says that what is stored cannot be right. The error's text names the place.
	ErrCorrupt = errors.New("store is corrupt")
	// ErrReadOnly says that the store was opened for reading only.
	ErrReadOnly = errors.New("store is open read-only")
	// ErrClosed says that the timeline has been closed.
	ErrClosed = errors.New("timeline is closed")
	// ErrSnapshotEnded says that a snapshot became too old, or held too much.
	ErrSnapshotEnded = errors.New("snapshot has ended")
	// ErrRefused marks a batch that cannot be put: nothing of it was stored.
	ErrRefused = errors.New("batch refused")
	// ErrBackpressure says that a batch would have had to wait: nothing of it was stored. Try again later.
	ErrBackpressure = errors.New("too much is not written yet")
	// ErrStale says that remote storage has no more what was there: a writer with a higher generation has taken over.
	ErrStale = upload.ErrStale
)
