package workload

import (
	"time"

	"golang.org/x/sys/unix"
)

// UsedCPU is the processor time of all threads of this process, in the kernel too; 0 where the system does not say.
func UsedCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
