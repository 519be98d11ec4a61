//go:build !linux

package pgworker

import "errors"

// Run makes this process the worker, on Linux.
func Run(Options) error { return errors.New("pgworker: servers become workers on Linux alone") }
