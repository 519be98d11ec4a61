package virtualfile

import (
	"errors"
	"io"
)

// readFull reads until p is full or the file ends.
func readFull(f io.ReaderAt, p []byte, off int64) (int, error) {
	n, err := f.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
