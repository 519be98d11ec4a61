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

// facts asks for all in one call. Where the kernel has no answer on direct I/O (before 6.1, and some file
// systems since) the configured alignment has to do.
func (f *osFile) facts() (facts, error) {
	const want = unix.STATX_INO | unix.STATX_SIZE | unix.STATX_BTIME | unix.STATX_DIOALIGN
	var st unix.Statx_t
	err := unix.Statx(f.descriptor(), "", unix.AT_EMPTY_PATH, want, &st)
	if err != nil {
		return facts{}, pathError("stat", f.Name(), err)
	}
	x := facts{size: int64(st.Size)}
	x.id.dev, x.id.ino = unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino
	if st.Mask&unix.STATX_BTIME != 0 {
		x.id.born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	if st.Mask&unix.STATX_DIOALIGN != 0 {
		x.align = int(max(st.Dio_mem_align, st.Dio_offset_align))
		x.noDirect = st.Dio_offset_align == 0
	}
	return x, nil
}

// preadCached is a pread that fails instead of waiting for the device.
func preadCached(fd int, p []byte, off int64) (int, error) {
	return unix.Preadv2(fd, [][]byte{p}, off, unix.RWF_NOWAIT)
}
