// Package clock is where the time comes from, so that tests can say what it is.
package clock

import "time"

// Clock tells the time. It may be called from many goroutines.
type Clock func() time.Time

// System gives the machine's time.
func System() time.Time { return time.Now() }
