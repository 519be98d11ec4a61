package virtualfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
)

// Permissions of new files and folders, before the process's umask.
const (
	filePerm = 0o644
	dirPerm  = 0o755
)

type osFS struct{}

var _ FS = osFS{}

// NewOS gives the operating system's file system with buffered I/O.
func NewOS() FS { return osFS{} }

func (osFS) Create(name string) (File, error) {
	return openOS(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (osFS) Open(name string) (File, error) { return openOS(name, os.O_RDONLY) }

func (osFS) OpenAppend(name string) (File, error) { return openOS(name, os.O_RDWR) }

func (osFS) OpenFile(name string, flags Flags) (File, error) {
	flag := os.O_RDONLY
	if flags&FlagWrite != 0 {
		flag = os.O_RDWR
	}
	if flags&FlagCreate != 0 {
		flag |= os.O_CREATE | os.O_EXCL
	}
	if flags&FlagDirect != 0 {
		flag |= directFlag
	}
	return openOS(name, flag)
}

func openOS(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, filePerm)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		err = fmt.Errorf("open %s: is a folder", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	o := &osFile{File: f}
	o.end.Store(st.Size())
	return o, nil
}

func (osFS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }

func (osFS) RenameNew(oldName, newName string) error { return renameNew(oldName, newName) }

func (osFS) Remove(name string) error    { return os.Remove(name) }
func (osFS) RemoveAll(name string) error { return os.RemoveAll(name) }

func (osFS) List(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

func (osFS) MkdirAll(dir string) error { return os.MkdirAll(dir, dirPerm) }

func (osFS) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (osFS) Stat(name string) (FileInfo, error) {
	st, err := os.Stat(name)
	if err != nil {
		return FileInfo{}, err
	}
	return FileInfo{Size: st.Size(), IsDir: st.IsDir(), Modified: st.ModTime()}, nil
}

func (osFS) Lock(name string) (io.Closer, error) {
	return lockOS(name, os.O_RDWR|os.O_CREATE, false)
}

func (osFS) LockShared(name string) (io.Closer, error) { return lockOS(name, os.O_RDONLY, true) }

func lockOS(name string, flag int, shared bool) (io.Closer, error) {
	f, err := os.OpenFile(name, flag, filePerm)
	if err != nil {
		return nil, err
	}
	if err := flock(f, shared); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	return f, nil
}

// osFile adds Write at the end, which O_APPEND would not let live beside WriteAt.
type osFile struct {
	*os.File
	end atomic.Int64 // where Write goes on
}

// descriptor is the number under which the kernel knows the file, for engines.
func (f *osFile) descriptor() int { return int(f.Fd()) }

// descriptorOf gives a file's descriptor, or -1 if its file system has no such thing, or means to see every
// transfer.
func descriptorOf(f File) int {
	if f, ok := f.(interface{ descriptor() int }); ok {
		return f.descriptor()
	}
	return -1
}

func (f *osFile) Write(p []byte) (int, error) {
	end := f.end.Load()
	n, err := f.File.WriteAt(p, end)
	f.end.CompareAndSwap(end, end+int64(n))
	return n, err
}

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	for end := f.end.Load(); end < off+int64(n); end = f.end.Load() {
		if f.end.CompareAndSwap(end, off+int64(n)) {
			break
		}
	}
	return n, err
}

func (f *osFile) Truncate(size int64) error {
	err := f.File.Truncate(size)
	if err == nil {
		f.end.Store(size)
	}
	return err
}

func (f *osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
