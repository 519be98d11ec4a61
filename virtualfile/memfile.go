package virtualfile

import (
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// memFile is an open file of a MemFS.
type memFile struct {
	fs       *MemFS
	name     string
	node     *memNode
	writable bool
	direct   bool
	closed   atomic.Bool
}

var _ allocator = (*memFile)(nil)

func (f *memFile) check(op string, write bool) error {
	switch {
	case f.closed.Load():
		return pathError(op, f.name, fs.ErrClosed)
	case write && !f.writable:
		return pathError(op, f.name, fs.ErrPermission)
	}
	return nil
}

// checkTransfer is check for a transfer, which with FlagDirect has to be aligned as a kernel wants it.
func (f *memFile) checkTransfer(op string, p []byte, off int64, write bool) error {
	if err := f.check(op, write); err != nil {
		return err
	}
	if off < 0 {
		return pathError(op, f.name, fs.ErrInvalid)
	}
	address := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	if f.direct && (address%sectorSize != 0 || off%sectorSize != 0 || len(p)%sectorSize != 0) {
		return pathError(op, f.name, fmt.Errorf("address %#x, offset %d and size %d are not all multiples of %d: %w",
			address, off, len(p), sectorSize, syscall.EINVAL))
	}
	return nil
}

func (f *memFile) Name() string { return f.name }

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.checkTransfer("read", p, off, false); err != nil {
		return 0, err
	}
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	b := f.node.file.bytes
	if off >= int64(len(b)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.checkTransfer("write", p, off, true); err != nil {
		return 0, err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.writeLocked(p, off)
}

func (f *memFile) Write(p []byte) (int, error) {
	if err := f.checkTransfer("write", p, 0, true); err != nil {
		return 0, err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.writeLocked(p, int64(len(f.node.file.bytes)))
}

// writeLocked writes as much as there is room for.
func (f *memFile) writeLocked(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	defer f.fs.fitLocked(f.node)
	fits := max(f.fs.roomLocked(f.node, off+int64(len(p)))-off, 0)
	if fits < int64(len(p)) {
		p = p[:fits]
		f.node.file.writeAt(p, off)
		return len(p), pathError("write", f.name, syscall.ENOSPC)
	}
	f.node.file.writeAt(p, off)
	return len(p), nil
}

func (f *memFile) Sync() error {
	if err := f.check("sync", false); err != nil {
		return err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.node.file.sync()
	return nil
}

// lose implements loser.
func (f *memFile) lose() {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.node.file.lose()
}

func (f *memFile) Truncate(size int64) error {
	if err := f.check("truncate", true); err != nil {
		return err
	}
	if size < 0 {
		return pathError("truncate", f.name, fs.ErrInvalid)
	}
	return f.resize("truncate", size)
}

// allocate implements allocator.
func (f *memFile) allocate(size int64) error {
	if err := f.check("allocate", true); err != nil {
		return err
	}
	if now, err := f.Size(); err != nil || now >= size {
		return err
	}
	return f.resize("allocate", size)
}

func (f *memFile) resize(op string, size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	defer f.fs.fitLocked(f.node)
	if f.fs.roomLocked(f.node, size) < size {
		return pathError(op, f.name, syscall.ENOSPC)
	}
	f.node.file.resize(size)
	return nil
}

func (f *memFile) Size() (int64, error) {
	if err := f.check("stat", false); err != nil {
		return 0, err
	}
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	return int64(len(f.node.file.bytes)), nil
}

func (f *memFile) Close() error {
	if f.closed.Swap(true) {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.node.opens--
	f.fs.freeLocked(f.node)
	return nil
}
