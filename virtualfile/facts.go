package virtualfile

import (
	"errors"
	"syscall"
)

// fileID tells one file from another: a number may be given again once its file is gone, the time of birth
// is not. The zero value says that nothing is known.
type fileID struct {
	dev, ino uint64
	born     int64 // nanoseconds; 0 if the file system does not keep it
	node     *memNode
}

// facts is what the kernel tells about an open file.
type facts struct {
	id    fileID
	size  int64
	align int // for direct transfers, offsets and addresses alike; 0 if unknown
	// noDirect says that the file cannot be read or written past the page cache.
	noDirect bool
}

// factsOf asks a file what it is. A file system that has no answer gives its size alone.
func factsOf(f File) (facts, error) {
	if f, ok := f.(interface{ facts() (facts, error) }); ok {
		return f.facts()
	}
	size, err := f.Size()
	return facts{size: size}, err
}

func (f *memFile) facts() (facts, error) {
	size, err := f.Size()
	return facts{size: size, id: fileID{node: f.node}}, err
}

func (f *faultFile) facts() (facts, error)  { return factsOf(f.File) }
func (f *stickyFile) facts() (facts, error) { return factsOf(f.File) }

// directRefused tells from an attempt to open a file past the page cache that it has to be opened without.
func directRefused(f File, err error) bool {
	if err != nil {
		return errors.Is(err, syscall.EINVAL)
	}
	x, err := factsOf(f)
	return err == nil && (x.noDirect || x.align > BufferAlign)
}
