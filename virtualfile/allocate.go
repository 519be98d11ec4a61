package virtualfile

import "errors"

// allocator is a File that can be given space on the disk before it is written to.
type allocator interface {
	// allocate makes the file at least size bytes long, all of them backed by space of its own. It fails with
	// errors.ErrUnsupported where the file system has no such call.
	allocate(size int64) error
}

// allocate asks f for space, and fails with errors.ErrUnsupported if it has no such call.
func allocate(f File, size int64) error {
	if a, ok := f.(allocator); ok {
		return a.allocate(size)
	}
	return errors.ErrUnsupported
}
