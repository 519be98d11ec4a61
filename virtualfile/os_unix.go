package virtualfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// linkAndRemove is a rename that cannot replace: link fails if the new name is taken. A crash in between
// leaves both names, which is harmless as the old one is temporary.
func linkAndRemove(oldName, newName string) error {
	if err := os.Link(oldName, newName); err != nil {
		return err
	}
	return os.Remove(oldName)
}

// flock belongs to the open file, so it ends with the process and also keeps out another Lock of the same
// process.
func flock(f *os.File, shared bool) error {
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

func pread(fd int, p []byte, off int64) (int, error)  { return unix.Pread(fd, p, off) }
func pwrite(fd int, p []byte, off int64) (int, error) { return unix.Pwrite(fd, p, off) }

// fewDescriptors is what a Disk takes if the process may have hardly any, mostDescriptors where a larger
// number would only cost kernel memory.
const (
	fewDescriptors  = 16
	mostDescriptors = 16 << 10
)

// defaultDescriptors is half of what the process may have: the rest is for sockets, pipes and small files.
func defaultDescriptors() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return fewDescriptors
	}
	return int(min(max(uint64(r.Cur)/2, fewDescriptors), mostDescriptors))
}
