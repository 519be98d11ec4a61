package timeline

import (
	"sync"
	"time"

	"github.com/stratapg/strata/internal/clock"
)

// breakers keep background work that fails from being tried over and over: after breakerFailures failures in a row
// of one cause it rests, and is then tried once; each further failure doubles the rest.
type breakers struct {
	clock clock.Clock
	mu    struct {
		sync.Mutex
		of map[string]*breaker
	}
}

const (
	breakerFailures  = 3
	breakerRest      = time.Minute
	breakerLongest   = time.Hour
	breakerDoublings = 6 // from the first rest to the longest
)

type breaker struct {
	failures int
	until    time.Time
	err      error
}

func newBreakers(c clock.Clock) *breakers {
	b := &breakers{clock: c}
	b.mu.of = map[string]*breaker{}
	return b
}

// allow reports whether work of a cause may be tried.
func (b *breakers) allow(cause string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.mu.of[cause]
	return x == nil || x.failures < breakerFailures || !b.clock().Before(x.until)
}

// note says how it went. A nil error closes the breaker.
func (b *breakers) note(cause string, err error) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		delete(b.mu.of, cause)
		return false
	}
	x := b.mu.of[cause]
	if x == nil {
		x = &breaker{}
		b.mu.of[cause] = x
	}
	x.failures, x.err = x.failures+1, err
	if x.failures < breakerFailures {
		return false
	}
	rest := breakerRest << min(x.failures-breakerFailures, breakerDoublings)
	if noSpace(err) {
		rest = breakerRest // that passes
	}
	x.until = b.clock().Add(min(rest, breakerLongest))
	return true
}

// forget closes the breakers of causes.
func (b *breakers) forget(causes ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, cause := range causes {
		delete(b.mu.of, cause)
	}
}

// compactRetry is after how long background work that has failed is tried again, until it has to rest.
const compactRetry = time.Second

// failing gives what went wrong last of the causes given, and after how long one of them is worth another try. The error is
// nil if none failed.
func (b *breakers) failing(causes ...string) (again time.Duration, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, cause := range causes {
		x := b.mu.of[cause]
		if x == nil {
			continue
		}
		wait := compactRetry
		if x.failures >= breakerFailures {
			wait = max(wait, x.until.Sub(b.clock()))
		}
		if err == nil || wait < again {
			err, again = x.err, wait
		}
	}
	return again, err
}

// open lists the causes that rest, with what failed last.
func (b *breakers) open() map[string]error {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]error{}
	for cause, x := range b.mu.of {
		if x.failures >= breakerFailures {
			out[cause] = x.err
		}
	}
	return out
}
