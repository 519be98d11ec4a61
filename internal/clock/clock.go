// Package clock is where the time comes from, so that tests can say what it is.
package clock

import (
	"context"
	"time"
)

// Clock tells the time. It may be called from many goroutines.
type Clock func() time.Time

// System gives the machine's time.
func System() time.Time { return time.Now() }

// Sleep waits, but no longer than the context lasts, whose error it then gives.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
