package backupcache

import (
	"golang.org/x/sys/unix"

	"github.com/stratapg/strata/virtualfile"
)

// descriptor is what an operating system's file has.
type descriptor interface{ Fd() uintptr }

// takeLease asks the kernel for a lease against those who write.
func takeLease(f virtualfile.File) bool {
	d, ok := f.(descriptor)
	if !ok {
		return false
	}
	if _, err := unix.FcntlInt(d.Fd(), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		return false
	}
	// Who wants the file is seen by looking (leaseHeld). No owner means no signal, which this process may have another use for.
	if _, err := unix.FcntlInt(d.Fd(), unix.F_SETOWN, 0); err != nil {
		dropLease(f)
		return false
	}
	return true
}

func dropLease(f virtualfile.File) {
	_, _ = unix.FcntlInt(f.(descriptor).Fd(), unix.F_SETLEASE, unix.F_UNLCK)
}

// leaseHeld reports whether nobody waits for the lease's end, and it has not been taken away.
func leaseHeld(f virtualfile.File) bool {
	kind, err := unix.FcntlInt(f.(descriptor).Fd(), unix.F_GETLEASE, 0)
	return err == nil && kind == unix.F_RDLCK
}
