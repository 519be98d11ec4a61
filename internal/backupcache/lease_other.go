//go:build !linux

package backupcache

import "github.com/stratapg/strata/virtualfile"

// Without leases backups are copied.
func takeLease(virtualfile.File) bool { return false }

func dropLease(virtualfile.File) {}

func leaseHeld(virtualfile.File) bool { return false }
