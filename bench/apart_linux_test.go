package bench

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// apart has start start processes on one processor, and puts this process on another one until back is called.
func apart(t testing.TB, start func()) (back func()) {
	var before, first, last unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &before))
	const most = 1024
	for cpu := range most {
		if before.IsSet(cpu) {
			if first.Count() == 0 {
				first.Set(cpu)
			}
			last.Zero()
			last.Set(cpu)
		}
	}
	confine(t, &last)
	start()
	confine(t, &first)
	return func() { confine(t, &before) }
}

// confine puts all threads of this process on these processors.
func confine(t testing.TB, set *unix.CPUSet) {
	threads, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		require.NoError(t, err)
		if err := unix.SchedSetaffinity(id, set); err != unix.ESRCH { // gone since
			require.NoError(t, err)
		}
	}
}
