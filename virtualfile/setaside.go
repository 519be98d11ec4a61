package virtualfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// SetAsideDir is the folder, in the one where they were found, that files are moved to which nobody knows what
// to do with.
const SetAsideDir = "set-aside"

// maxSetAside bounds how many things of one name are kept; more of them are a loop, not an accident.
const maxSetAside = 1000

// SetAside moves a file or a folder out of the way, durably, to SetAsideDir beside it, where nobody looks but a
// human, and gives its new name. Nothing that is there is replaced: things of one name are numbered. After a
// crash it is found at one of its two names.
func SetAside(fsys FS, name string) (string, error) {
	dir, base := filepath.Split(name)
	dir = filepath.Clean(dir)
	if err := DurableMkdirAll(fsys, dir, filepath.Join(dir, SetAsideDir)); err != nil {
		return "", err
	}
	to := filepath.Join(dir, SetAsideDir, base)
	for n := 1; ; n++ {
		err := DurableRenameNew(fsys, name, to)
		if !errors.Is(err, fs.ErrExist) {
			return to, err
		}
		if n == maxSetAside {
			return "", fmt.Errorf("set aside %s: %d files of that name are in %s already; remove them: %w",
				name, n, SetAsideDir, fs.ErrExist)
		}
		to = filepath.Join(dir, SetAsideDir, fmt.Sprintf("%s.%d", base, n))
	}
}
