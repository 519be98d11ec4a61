package virtualfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// directFlag opens past the page cache.
const directFlag = unix.O_DIRECT

// renameNew asks the kernel for a rename without replacement, and makes do with a second link where the
// file system does not know it.
func renameNew(oldName, newName string) error {
	err := unix.Renameat2(unix.AT_FDCWD, oldName, unix.AT_FDCWD, newName, unix.RENAME_NOREPLACE)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS):
		return linkAndRemove(oldName, newName)
	}
	return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: err}
}
