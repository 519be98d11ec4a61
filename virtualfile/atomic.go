package virtualfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
)

// WriteFileAtomic makes name hold data: after a crash it holds either what it held before or data, whole.
// It is durable on return. After an error it may be either, and may become data with a crash. One writer of
// a name at a time.
func WriteFileAtomic(fsys FS, name string, data []byte) error {
	// What could not be written or synced is removed, never synced again, so that the next try starts from data
	// (see ErrBroken).
	temp := name + TempSuffix
	if err := writeTemp(fsys, temp, data); err != nil {
		return err
	}
	if err := fsys.Rename(temp, name); err != nil {
		return errors.Join(err, removeIfThere(fsys, temp))
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// writeTemp makes a durable file whose name is not, over what an earlier try has left.
func writeTemp(fsys FS, temp string, data []byte) error {
	f, err := createTemp(fsys, temp)
	if err != nil {
		return err
	}
	err = WriteAll(f, data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, removeIfThere(fsys, temp))
	}
	return nil
}

func createTemp(fsys FS, temp string) (File, error) {
	if err := removeIfThere(fsys, temp); err != nil {
		return nil, err
	}
	return fsys.Create(temp)
}

func removeIfThere(fsys FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// WriteAll appends all of p, going on after a short write and after a signal. Any other error is final.
func WriteAll(f File, p []byte) error {
	for len(p) > 0 {
		n, err := f.Write(p)
		p = p[n:]
		switch {
		case err == nil && n > 0, errors.Is(err, syscall.EINTR):
		case err == nil:
			return fmt.Errorf("write %s: %w", f.Name(), io.ErrShortWrite)
		default:
			return err
		}
	}
	return nil
}

// DurableRename moves a file, or a folder, whose content is durable already, and makes that durable; a file
// of the new name is replaced. After a crash it has one of the two names. After an error it may have either.
func DurableRename(fsys FS, oldName, newName string) error {
	return durableRename(fsys, oldName, newName, fsys.Rename)
}

// DurableRenameNew is DurableRename that fails with fs.ErrExist if the new name is taken.
func DurableRenameNew(fsys FS, oldName, newName string) error {
	return durableRename(fsys, oldName, newName, fsys.RenameNew)
}

func durableRename(fsys FS, oldName, newName string, rename func(oldName, newName string) error) error {
	if err := rename(oldName, newName); err != nil {
		return err
	}
	// The new name first: where a file system does not take a rename for one change, two names do no harm.
	from, to := filepath.Dir(oldName), filepath.Dir(newName)
	if err := fsys.SyncDir(to); err != nil || from == to {
		return err
	}
	return fsys.SyncDir(from)
}

// DurableMkdirAll makes dir and the folders between it and root, which contains it and is durable, and makes
// them durable, those too that an earlier try has made and not synced.
func DurableMkdirAll(fsys FS, root, dir string) error {
	rel, err := filepath.Rel(root, dir)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return fmt.Errorf("make folder %s: it is not in %s", dir, root)
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	// From the inside out: a folder is not found after a crash before all that is in it is.
	for rel != "." {
		rel = filepath.Dir(rel)
		if err := fsys.SyncDir(filepath.Join(root, rel)); err != nil {
			return err
		}
	}
	return nil
}

// ReadFile reads a whole file of at most limit bytes; a longer one is an error, so that a damaged length
// cannot ask for all memory.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	b, err := readAll(f, limit)
	return b, errors.Join(err, f.Close())
}

func readAll(f File, limit int64) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are expected", f.Name(), size, limit)
	}
	b := make([]byte, size)
	for n := 0; n < len(b); {
		k, err := f.ReadAt(b[n:], int64(n))
		switch n += k; {
		case n == len(b):
		case err == nil && k > 0, errors.Is(err, syscall.EINTR):
		case err == nil:
			return nil, fmt.Errorf("%s: read %d of %d bytes: %w", f.Name(), n, len(b), io.ErrNoProgress)
		default:
			return nil, fmt.Errorf("%s: read %d of %d bytes: %w", f.Name(), n, len(b), err)
		}
	}
	return b, nil
}
