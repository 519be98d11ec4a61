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
	OpAllocate
)

// ErrInjected is what a Fault without an error of its own gives.
var ErrInjected = errors.New("injected fault")

// Effect is what a Fault does to the operation it hits.
type Effect uint8

const (
	// Fail fails it. A write puts Torn bytes down first.
	Fail Effect = iota
	// Delay only runs Before; the operation is then done, and may be hit by another fault.
	Delay
	// Short moves Torn bytes, at least one, of a read or a write, and says so without an error, as a kernel
	// may. Other operations, and transfers of one byte, are done.
	Short
	// Flip flips the bit numbered Bit (modulo their number) of the bytes that a read gives or a write puts
	// down, and says nothing. Other operations are done.
	Flip
	// Lose fails a sync as Linux does: what was not synced is lost, but reads give it, and the next sync
	// succeeds. Only a MemFS below can lose; other operations fail.
	Lose
)

// Fault makes operations go wrong. It may be shared by no two file systems.
type Fault struct {
	Op   Op                     // OpAny for every kind
	Path func(name string) bool // nil for every path
	// Nth counts matching operations from 1: that one is hit. 0 hits none, and only counts.
	Nth int
	// Sticky hits every matching operation from the Nth on, as a full disk does.
	Sticky bool
	// Effect is what happens to it.
	Effect Effect
	// Err is what comes back; nil means ErrInjected. Use syscall.ENOSPC for a full disk.
	Err error
	// Torn lets a failing or short transfer move that many bytes; whole sectors with FlagDirect.
	Torn int
	// Bit is the one that Flip flips.
	Bit int
	// Before, if set, runs before the operation that is hit: it may wait, or look at the file system.
	Before func()

	mu   sync.Mutex
	seen int
	hits int
}

// Seen gives how many operations have matched.
func (f *Fault) Seen() int { f.mu.Lock(); defer f.mu.Unlock(); return f.seen }

// Hits gives how many operations this fault has hit.
func (f *Fault) Hits() int { f.mu.Lock(); defer f.mu.Unlock(); return f.hits }

// Arm has the nth matching operation from now on hit, 0 none. Unlike Nth it may change while there are operations.
func (f *Fault) Arm(nth int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Nth = nth; nth > 0 {
		f.Nth += f.seen
	}
}

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

// NewFaulty wraps fs so that operations go wrong as the faults say; the first that strikes decides, but for
// delays.
func NewFaulty(fs FS, faults ...*Fault) FS { return &faultFS{fs, faults} }

// hit gives the fault that an operation is to suffer, or nil.
func (f *faultFS) hit(op Op, name string) *Fault {
	for _, x := range f.faults {
		if !x.strikes(op, name) {
			continue
		}
		if x.Before != nil {
			x.Before()
		}
		if x.Effect != Delay {
			return x
		}
	}
	return nil
}

// failure gives the error of a fault that fails an operation.
func (f *Fault) failure(what, name string) error {
	err := f.Err
	if err == nil {
		err = ErrInjected
	}
	return fmt.Errorf("%s %s: %w", what, name, err)
}

// check is hit for an operation that can only fail or succeed.
func (f *faultFS) check(op Op, what, name string) error {
	x := f.hit(op, name)
	if x == nil || x.Effect == Short || x.Effect == Flip {
		return nil
	}
	return x.failure(what, name)
}

func (f *faultFS) file(file File, err error, flags Flags) (File, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, fs: f, direct: flags&FlagDirect != 0}, nil
}

func (f *faultFS) Create(name string) (File, error) {
	if err := f.check(OpCreate, "create", name); err != nil {
		return nil, err
	}
	file, err := f.fs.Create(name)
	return f.file(file, err, 0)
}

func (f *faultFS) Open(name string) (File, error) {
	if err := f.check(OpOpen, "open", name); err != nil {
		return nil, err
	}
	file, err := f.fs.Open(name)
	return f.file(file, err, 0)
}

func (f *faultFS) OpenAppend(name string) (File, error) {
	if err := f.check(OpOpen, "open", name); err != nil {
		return nil, err
	}
	file, err := f.fs.OpenAppend(name)
	return f.file(file, err, 0)
}

func (f *faultFS) OpenFile(name string, flags Flags) (File, error) {
	op, what := OpOpen, "open"
	if flags&FlagCreate != 0 {
		op, what = OpCreate, "create"
	}
	if err := f.check(op, what, name); err != nil {
		return nil, err
	}
	file, err := f.fs.OpenFile(name, flags)
	return f.file(file, err, flags)
}

func (f *faultFS) Rename(oldName, newName string) error {
	if err := f.check(OpRename, "rename", newName); err != nil {
		return err
	}
	return f.fs.Rename(oldName, newName)
}

func (f *faultFS) RenameNew(oldName, newName string) error {
	if err := f.check(OpRename, "rename", newName); err != nil {
		return err
	}
	return f.fs.RenameNew(oldName, newName)
}

func (f *faultFS) Remove(name string) error {
	if err := f.check(OpRemove, "remove", name); err != nil {
		return err
	}
	return f.fs.Remove(name)
}

func (f *faultFS) RemoveAll(name string) error {
	if err := f.check(OpRemove, "remove", name); err != nil {
		return err
	}
	return f.fs.RemoveAll(name)
}

func (f *faultFS) List(dir string) ([]string, error) {
	if err := f.check(OpList, "list", dir); err != nil {
		return nil, err
	}
	return f.fs.List(dir)
}

func (f *faultFS) MkdirAll(dir string) error {
	if err := f.check(OpMkdir, "mkdir", dir); err != nil {
		return err
	}
	return f.fs.MkdirAll(dir)
}

func (f *faultFS) SyncDir(dir string) error {
	if err := f.check(OpSyncDir, "sync", dir); err != nil {
		return err
	}
	return f.fs.SyncDir(dir)
}

func (f *faultFS) Stat(name string) (FileInfo, error) {
	if err := f.check(OpStat, "stat", name); err != nil {
		return FileInfo{}, err
	}
	return f.fs.Stat(name)
}

func (f *faultFS) Lock(name string) (io.Closer, error) {
	if err := f.check(OpLock, "lock", name); err != nil {
		return nil, err
	}
	return f.fs.Lock(name)
}

func (f *faultFS) LockShared(name string) (io.Closer, error) {
	if err := f.check(OpLock, "lock", name); err != nil {
		return nil, err
	}
	return f.fs.LockShared(name)
}
