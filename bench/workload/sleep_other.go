//go:build !linux

package workload

import "time"

// SleepUntil waits.
func SleepUntil(at time.Time) { time.Sleep(time.Until(at)) }
