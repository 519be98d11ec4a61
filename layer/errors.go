package layer

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt marks bytes on disk that cannot be what was written. The error's text names file and offset.
	ErrCorrupt = errors.New("corrupt layer file")
	// ErrBadName marks a string that is no layer file name.
	ErrBadName = errors.New("bad layer name")
	// ErrOrder marks entries handed to a writer that do not ascend or lie outside the layer's ranges.
	ErrOrder = errors.New("entry out of order or range")
)

// corruptf reports what is wrong at offset of the named file.
func corruptf(file string, offset int64, format string, args ...any) error {
	return fmt.Errorf("%w: %s, offset %d: %s", ErrCorrupt, file, offset, fmt.Sprintf(format, args...))
}
