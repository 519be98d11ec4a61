//go:build !linux

package virtualfile

import "golang.org/x/sys/unix"

func renameNew(oldName, newName string) error { return linkAndRemove(oldName, newName) }

// directFlag is nothing where the platform has no such flag.
const directFlag = 0

// facts has no answer on direct I/O, of which there is none.
func (f *osFile) facts() (facts, error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.descriptor(), &st); err != nil {
		return facts{}, pathError("stat", f.Name(), err)
	}
	return facts{size: st.Size, id: fileID{dev: uint64(st.Dev), ino: st.Ino}}, nil
}

// preadCached fails, as there is no telling whether a pread would wait.
func preadCached(int, []byte, int64) (int, error) { return 0, unix.EAGAIN }
