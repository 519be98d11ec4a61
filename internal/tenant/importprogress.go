package tenant

import (
	"sync"
	"time"

	"github.com/stratapg/strata/internal/clock"
)

// ImportProgress says how far an import is.
type ImportProgress struct {
	Jobs      int   `json:"jobs"`
	JobsDone  int   `json:"jobs_done"`
	Pages     int64 `json:"pages"`
	PagesDone int64 `json:"pages_done"`
	Bytes     int64 `json:"bytes"`
	BytesDone int64 `json:"bytes_done"`
	// Retries counts the attempts of jobs that failed and were begun again.
	Retries int64 `json:"retries"`
	// Replaying says that all files are taken, and the WAL of a base backup is.
	Replaying bool `json:"replaying,omitempty"`
	// Left is how long the rest will take at the rate so far; 0 while that is not known.
	Left time.Duration `json:"left_ns,omitempty"`
}

// importTracker gathers how far an import is.
type importTracker struct {
	clock clock.Clock
	tell  func(ImportProgress)
	turn  sync.Mutex // of tell
	mu    struct {
		sync.Mutex
		p     ImportProgress
		begun time.Time
		had   int64 // bytes that were there when it began
	}
}

func newImportTracker(c clock.Clock, tell func(ImportProgress)) *importTracker {
	t := &importTracker{clock: c, tell: tell}
	t.mu.begun = c()
	return t
}

// get gives the progress.
func (t *importTracker) get() ImportProgress {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.mu.p
	took, done, left := t.clock().Sub(t.mu.begun), p.BytesDone-t.mu.had, p.Bytes-p.BytesDone
	if done > 0 && left > 0 {
		p.Left = time.Duration(float64(took) * float64(left) / float64(done))
	}
	return p
}

// change changes the progress and tells of it. Calls of tell come one after the other.
func (t *importTracker) change(fn func(p *ImportProgress)) {
	t.mu.Lock()
	fn(&t.mu.p)
	t.mu.Unlock()
	if t.tell != nil {
		t.turn.Lock()
		defer t.turn.Unlock()
		t.tell(t.get())
	}
}

// start notes what is done already.
func (t *importTracker) start(p ImportProgress) {
	t.mu.Lock()
	t.mu.p, t.mu.had, t.mu.begun = p, p.BytesDone, t.clock()
	t.mu.Unlock()
}
