//go:build !linux

package bench

import "testing"

// apart has start start processes, wherever the system likes.
func apart(_ testing.TB, start func()) (back func()) {
	start()
	return func() {}
}
