//go:build !linux

package sandbox

// Enter fails: what it needs is Linux's.
func Enter(Limits) (State, error) { return State{}, ErrUnavailable }

// Cleanse does nothing here.
func Cleanse() error { return nil }
