//go:build unix

package virtualfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// space implements spacer.
func (osFS) space(dir string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Space{}, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	unit := int64(st.Bsize)
	return Space{Total: int64(st.Blocks) * unit, Avail: int64(st.Bavail) * unit}, nil
}
