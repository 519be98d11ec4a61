package virtualfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Linker is a file system that can give a file a second name.
type Linker interface {
	// Link gives a file a further name, and fails with fs.ErrExist if that is taken. The entry is durable after SyncDir.
	Link(oldName, newName string) error
}

// errNoLinks says that a file system has no second names.
var errNoLinks = &os.LinkError{Op: "link", Err: errors.ErrUnsupported}

// Link gives a file that does not change any more a further name: the same file where the file system can do that, else a
// copy of it, synced. It fails with fs.ErrExist if the name is taken. The entry is durable after SyncDir. After an error
// there is nothing under the new name but what was there before.
func Link(fsys FS, oldName, newName string) error {
	err := link(fsys, oldName, newName)
	// EPERM is what Linux says of file systems without links, EXDEV of two of them, EMLINK where a file has too many names.
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EMLINK) {
		return copyFile(fsys, oldName, newName)
	}
	return err
}

func link(fsys FS, oldName, newName string) error {
	if l, ok := fsys.(Linker); ok {
		return l.Link(oldName, newName)
	}
	return errNoLinks
}

// copyBuffer is how much is copied at a time.
const copyBuffer = 1 << 20

func copyFile(fsys FS, oldName, newName string) (err error) {
	from, err := fsys.Open(oldName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := fsys.Create(newName)
	if err != nil {
		return err
	}
	err = copyBytes(to, from)
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return errors.Join(err, fsys.Remove(newName))
	}
	return nil
}

func copyBytes(to, from File) error {
	buf := make([]byte, copyBuffer)
	for at := int64(0); ; {
		n, err := from.ReadAt(buf, at)
		if n > 0 {
			if err := WriteAll(to, buf[:n]); err != nil {
				return err
			}
			at += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Link makes a hard link.
func (osFS) Link(oldName, newName string) error { return os.Link(oldName, newName) }

// Link makes a second name for a file.
func (m *MemFS) Link(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.findLocked("link", oldName)
	if err != nil {
		return err
	}
	if n.isDir() {
		return pathError("link", oldName, syscall.EPERM)
	}
	dir, base, err := m.parentLocked("link", newName)
	if err != nil {
		return err
	}
	if dir.entries[base] != nil {
		return pathError("link", newName, fs.ErrExist)
	}
	m.setLocked(m.changeLocked(), dir, base, n)
	return nil
}

// Link is hit by faults of OpCreate.
func (f *faultFS) Link(oldName, newName string) error {
	if err := f.check(OpCreate, "link", newName); err != nil {
		return err
	}
	return link(f.fs, oldName, newName)
}

// Link refuses what could not be written or synced: its second name would be one that can.
func (s *stickyFS) Link(oldName, newName string) error {
	if err := s.failed(oldName); err != nil {
		return err
	}
	return link(s.FS, oldName, newName)
}
