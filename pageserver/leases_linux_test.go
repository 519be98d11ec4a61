package pageserver_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// leases reports whether the file system of the tests has leases.
func leases(t *testing.T) bool {
	t.Helper()
	name := filepath.Join(t.TempDir(), "leased")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	return err == nil
}

// writerWaits reports whether the kernel has somebody wait for the end of a lease on a file.
func writerWaits(t *testing.T, name string) bool { return hasLock(t, name, "BREAKING") }

// isLeased reports whether there is a lease on a file.
func isLeased(t *testing.T, name string) bool { return hasLock(t, name, "LEASE") }

func hasLock(t *testing.T, name, word string) bool {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(name, &st))
	locks, err := os.ReadFile("/proc/locks")
	require.NoError(t, err)
	for line := range strings.Lines(string(locks)) {
		if strings.Contains(line, word) && strings.Contains(line, fmt.Sprintf(":%d ", st.Ino)) {
			return true
		}
	}
	return false
}

// dropLeases ends the leases that this process has on a file.
func dropLeases(t *testing.T, name string) {
	t.Helper()
	const dir = "/proc/self/fd"
	all, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range all {
		fd, err := strconv.Atoi(e.Name())
		require.NoError(t, err)
		if at, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && at == name {
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK) // others have none
		}
	}
}
