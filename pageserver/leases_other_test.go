//go:build !linux

package pageserver_test

import "testing"

// leases reports whether the file system of the tests has leases, which are Linux's.
func leases(*testing.T) bool { return false }

// writerWaits reports whether the kernel has somebody wait for the end of a lease on a file.
func writerWaits(*testing.T, string) bool { return false }

// isLeased reports whether there is a lease on a file.
func isLeased(*testing.T, string) bool { return false }

// dropLeases has nothing to do where there are none.
func dropLeases(*testing.T, string) {}
