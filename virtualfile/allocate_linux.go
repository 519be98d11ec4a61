package virtualfile

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// allocate implements allocator.
func (f *osFile) allocate(size int64) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var fail error
	if err := raw.Control(func(fd uintptr) { fail = fallocate(int(fd), size) }); err != nil {
		return err
	}
	if errors.Is(fail, unix.EOPNOTSUPP) || errors.Is(fail, unix.ENOSYS) {
		return fmt.Errorf("allocate %s: %w", f.Name(), errors.ErrUnsupported)
	}
	if fail != nil {
		return &os.PathError{Op: "allocate", Path: f.Name(), Err: fail}
	}
	for end := f.end.Load(); end < size && !f.end.CompareAndSwap(end, size); end = f.end.Load() {
	}
	return nil
}

// fallocate goes on after a signal, which a long one may meet.
func fallocate(fd int, size int64) error {
	for {
		if err := unix.Fallocate(fd, 0, 0, size); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
