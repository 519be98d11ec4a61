package virtualfile

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// Op is a kind of operation that a Fault can hit.
type Op uint8

// The operations that can fail. OpWrite stands for Write and WriteAt.
const (
	OpAny Op = iota
	OpCreate
	OpOpen
	OpRead
	OpWrite
	OpSync
	OpTruncate
	OpRename
	OpRemove
	OpList
	OpMkdir
	OpSyncDir
	OpStat
	OpLock
)

// ErrInjected is what a Fault without an error of its own gives.
var ErrInjected = errors.New("injected fault")

// Fault makes operations fail. It may be shared by no two file systems.
type Fault struct {
	Op   Op                     // OpAny for every kind
	Path func(name string) bool // nil for every path
	// Nth counts matching operations from 1: that one fails. 0 fails none, and only counts.
	Nth int
	// Sticky fails every matching operation from the Nth on, as a full disk does.
	Sticky bool
	// Err is what comes back; nil means ErrInjected. Use syscall.ENOSPC for a full disk.
	Err error
	// Torn lets a failing write put that many of its bytes down first.
	Torn int

	mu   sync.Mutex
	seen int
	hits int
}

// Seen gives how many operations have matched, Hits how many of them failed.
func (f *Fault) Seen() int { f.mu.Lock(); defer f.mu.Unlock(); return f.seen }

// Hits gives how many operations this fault has failed.
func (f *Fault) Hits() int { f.mu.Lock(); defer f.mu.Unlock(); return f.hits }

func (f *Fault) strikes(op Op, name string) bool {
	if f.Op != OpAny && f.Op != op || f.Path != nil && !f.Path(name) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen++
	if f.Nth == 0 || f.seen < f.Nth || f.seen > f.Nth && !f.Sticky {
		return false
	}
	f.hits++
	return true
}

type faultFS struct {
	fs     FS
	faults []*Fault
}

var _ FS = (*faultFS)(nil)

// NewFaulty wraps fs so that operations fail as the faults say; the first that strikes decides.
func NewFaulty(fs FS, faults ...*Fault) FS { return &faultFS{fs, faults} }

func (f *faultFS) check(op Op, what, name string) (*Fault, error) {
	for _, x := range f.faults {
		if x.strikes(op, name) {
			err := x.Err
			if err == nil {
				err = ErrInjected
			}
			return x, fmt.Errorf("%s %s: %w", what, name, err)
		}
	}
	return nil, nil
}

func (f *faultFS) file(file File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{file, f}, nil
}

func (f *faultFS) Create(name string) (File, error) {
	if _, err := f.check(OpCreate, "create", name); err != nil {
		return nil, err
	}
	return f.file(f.fs.Create(name))
}

func (f *faultFS) Open(name string) (File, error) {
	if _, err := f.check(OpOpen, "open", name); err != nil {
		return nil, err
	}
	return f.file(f.fs.Open(name))
}

func (f *faultFS) OpenAppend(name string) (File, error) {
	if _, err := f.check(OpOpen, "open", name); err != nil {
		return nil, err
	}
	return f.file(f.fs.OpenAppend(name))
}

func (f *faultFS) OpenFile(name string, flags Flags) (File, error) {
	op, what := OpOpen, "open"
	if flags&FlagCreate != 0 {
		op, what = OpCreate, "create"
	}
	if _, err := f.check(op, what, name); err != nil {
		return nil, err
	}
	return f.file(f.fs.OpenFile(name, flags))
}

func (f *faultFS) Rename(oldName, newName string) error {
	if _, err := f.check(OpRename, "rename", newName); err != nil {
		return err
	}
	return f.fs.Rename(oldName, newName)
}

func (f *faultFS) RenameNew(oldName, newName string) error {
	if _, err := f.check(OpRename, "rename", newName); err != nil {
		return err
	}
	return f.fs.RenameNew(oldName, newName)
}

func (f *faultFS) Remove(name string) error {
	if _, err := f.check(OpRemove, "remove", name); err != nil {
		return err
	}
	return f.fs.Remove(name)
}

func (f *faultFS) RemoveAll(name string) error {
	if _, err := f.check(OpRemove, "remove", name); err != nil {
		return err
	}
	return f.fs.RemoveAll(name)
}

func (f *faultFS) List(dir string) ([]string, error) {
	if _, err := f.check(OpList, "list", dir); err != nil {
		return nil, err
	}
	return f.fs.List(dir)
}

func (f *faultFS) MkdirAll(dir string) error {
	if _, err := f.check(OpMkdir, "mkdir", dir); err != nil {
		return err
	}
	return f.fs.MkdirAll(dir)
}

func (f *faultFS) SyncDir(dir string) error {
	if _, err := f.check(OpSyncDir, "sync", dir); err != nil {
		return err
	}
	return f.fs.SyncDir(dir)
}

func (f *faultFS) Stat(name string) (FileInfo, error) {
	if _, err := f.check(OpStat, "stat", name); err != nil {
		return FileInfo{}, err
	}
	return f.fs.Stat(name)
}

func (f *faultFS) Lock(name string) (io.Closer, error) {
	if _, err := f.check(OpLock, "lock", name); err != nil {
		return nil, err
	}
	return f.fs.Lock(name)
}

func (f *faultFS) LockShared(name string) (io.Closer, error) {
	if _, err := f.check(OpLock, "lock", name); err != nil {
		return nil, err
	}
	return f.fs.LockShared(name)
}

type faultFile struct {
	File
	fs *faultFS
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if _, err := f.fs.check(OpRead, "read", f.Name()); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultFile) Write(p []byte) (int, error) {
	if x, err := f.fs.check(OpWrite, "write", f.Name()); err != nil {
		n, werr := f.File.Write(p[:min(x.Torn, len(p))])
		return n, errors.Join(err, werr)
	}
	return f.File.Write(p)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	if x, err := f.fs.check(OpWrite, "write", f.Name()); err != nil {
		n, werr := f.File.WriteAt(p[:min(x.Torn, len(p))], off)
		return n, errors.Join(err, werr)
	}
	return f.File.WriteAt(p, off)
}

func (f *faultFile) Sync() error {
	if _, err := f.fs.check(OpSync, "sync", f.Name()); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultFile) Truncate(size int64) error {
	if _, err := f.fs.check(OpTruncate, "truncate", f.Name()); err != nil {
		return err
	}
	return f.File.Truncate(size)
}
