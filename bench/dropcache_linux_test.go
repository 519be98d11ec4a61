package bench

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropCache has the kernel drop a file's pages, which must be clean.
func dropCache(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
