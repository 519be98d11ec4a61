package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Enter closes the sandbox behind the process. The calling goroutine stays on its thread from then on. After an
// error the process is in a state between, and should end.
func Enter(l Limits) (State, error) {
	l = l.withDefaults()
	var s State
	runtime.LockOSThread()
	runtime.GOMAXPROCS(l.Processors)
	if err := closeOthers(); err != nil {
		return s, fmt.Errorf("sandbox: closing descriptors: %w", err)
	}
	if err := setLimits(l); err != nil {
		return s, fmt.Errorf("sandbox: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return s, fmt.Errorf("sandbox: prctl: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return s, fmt.Errorf("sandbox: prctl: %w", err)
	}
	var err error
	if s.Landlock, err = landlock(); err != nil {
		return s, fmt.Errorf("sandbox: landlock: %w", err)
	}
	if err := seccomp(); err != nil {
		return s, fmt.Errorf("sandbox: seccomp: %w", err)
	}
	s.Seccomp = true
	return s, nil
}

// Cleanse starts the program anew if its environment is not Environment. It returns if it is, or with an error.
func Cleanse() error {
	if slices.Equal(os.Environ(), environment) {
		return nil
	}
	if err := unix.Exec("/proc/self/exe", os.Args, environment); err != nil {
		return fmt.Errorf("sandbox: starting anew without environment: %w", err)
	}
	return nil
}

// closeOthers closes what was inherited above stderr. What Go's runtime waits with is an anonymous inode.
func closeOthers() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= unix.Stderr {
			continue
		}
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || strings.HasPrefix(to, "anon_inode:") {
			continue // the listing's own, which is closed already, or the runtime's
		}
		_ = unix.Close(fd)
	}
	return nil
}

func setLimits(l Limits) error {
	seconds := uint64((l.CPU + time.Second - 1) / time.Second)
	for _, x := range []struct {
		name     string
		resource int
		value    uint64
	}{
		{"RLIMIT_DATA", unix.RLIMIT_DATA, l.Memory},
		{"RLIMIT_CPU", unix.RLIMIT_CPU, seconds},
		{"RLIMIT_CORE", unix.RLIMIT_CORE, 0},
		{"RLIMIT_FSIZE", unix.RLIMIT_FSIZE, 0},
	} {
		if err := lower(x.resource, x.value); err != nil {
			return fmt.Errorf("%s to %d: %w", x.name, x.value, err)
		}
	}
	return nil
}

// lower sets a limit, or leaves it where it is lower already.
func lower(resource int, value uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return err
	}
	value = min(value, now.Max)
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: value, Max: value})
}

// The rights of landlock by the version of its interface that brought them (linux/landlock.h).
const (
	fsRights1   = 1<<13 - 1 // execute to make_sym
	fsRefer     = 1 << 13   // 2
	fsTruncate  = 1 << 14   // 3
	netRights   = 1<<2 - 1  // 4: bind and connect
	fsIoctl     = 1 << 15   // 5
	scopeRights = 1         // 6: abstract sockets; not signals, which the runtime sends between threads
)

type rulesetAttr struct{ fs, net, scoped uint64 }

// Sizes of rulesetAttr that older kernels know.
const (
	attrSizeFS  = 8
	attrSizeNet = 16
)

// landlock forbids all that landlock can forbid. It says how far that reaches.
func landlock() (string, error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return "", nil // an older kernel, or one without it
	}
	attr, size := rulesetAttr{fs: fsRights1}, uintptr(attrSizeFS)
	if version >= 2 {
		attr.fs |= fsRefer
	}
	if version >= 3 {
		attr.fs |= fsTruncate
	}
	if version >= 4 {
		attr.net, size = netRights, attrSizeNet
	}
	if version >= 5 {
		attr.fs |= fsIoctl
	}
	if version >= 6 {
		attr.scoped, size = scopeRights, unsafe.Sizeof(attr)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return "", errno
	}
	defer unix.Close(int(fd))
	return restrict(fd)
}

// restrict puts the ruleset on all threads where the runtime can, which is in programs without cgo.
func restrict(fd uintptr) (string, error) {
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); errno == 0 {
		_, _, errno = syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0)
		if errno != 0 {
			return "", errno
		}
		return "process", nil
	} else if !errors.Is(errno, unix.ENOTSUP) {
		return "", errno
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return "", errno
	}
	return "thread", nil
}
