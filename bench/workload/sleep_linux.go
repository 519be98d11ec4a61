package workload

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// SleepUntil waits on the kernel's clock: the runtime's timers are up to a millisecond late where nothing runs, which is
// more than most reads take.
func SleepUntil(at time.Time) {
	d := time.Until(at)
	if d <= 0 {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	left := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&left, nil)
}
