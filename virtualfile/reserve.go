package virtualfile

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
)

// Reserve is a file that holds space on the disk for the day when it is full. What frees space needs some
// first: garbage collection has to write the manifest before it can remove a layer. So when writes fail with
// ENOSPC, Release gives that space back, and Refill takes it again once there is more.
//
// The file says nothing and may be removed at any time; it has its name only while it holds all of its size. On a
// file system that shares or compresses what is zero, such as btrfs or zfs, it may hold less than it says.
// All methods may be called concurrently.
type Reserve struct {
	fs   FS
	name string
	size int64

	mu struct {
		sync.Mutex
		held bool
	}
}

// NewReserve takes a reserve of size bytes, or finds the one that is there. A disk too full for it is no error,
// since the engine has to start all the same: then the reserve is not Held, until Refill takes it.
func NewReserve(fsys FS, name string, size int64) (*Reserve, error) {
	if size <= 0 {
		return nil, fmt.Errorf("reserve %s: its size is %d: it has to be positive", name, size)
	}
	r := &Reserve{fs: fsys, name: name, size: size}
	if err := r.Refill(); err != nil && !fullDisk(err) {
		return nil, err
	}
	return r, nil
}

// Held gives the bytes that Release would give back: all or none.
func (r *Reserve) Held() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.held {
		return r.size
	}
	return 0
}

// Release gives the space back to the file system. If there is none it does nothing.
func (r *Reserve) Release() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.held = false
	if err := errors.Join(removeIfThere(r.fs, r.name), removeIfThere(r.fs, r.name+TempSuffix)); err != nil {
		return err
	}
	// Where a journal orders things, blocks are free when the removal is in it.
	return r.fs.SyncDir(filepath.Dir(r.name))
}

// Refill takes the space again, if it is not held. While the disk is full it fails with ENOSPC, and takes
// nothing.
func (r *Reserve) Refill() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	temp := r.name + TempSuffix
	if st, err := r.fs.Stat(r.name); err == nil && st.Size == r.size {
		r.mu.held = true
		return removeIfThere(r.fs, temp)
	}
	r.mu.held = false
	err := removeIfThere(r.fs, r.name) // of another size
	if err == nil {
		err = r.fill(temp)
	}
	if err == nil {
		err = r.fs.Rename(temp, r.name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("reserve of %d bytes: %w", r.size, err), removeIfThere(r.fs, temp))
	}
	r.mu.held = true
	return r.fs.SyncDir(filepath.Dir(r.name))
}

func (r *Reserve) fill(temp string) error {
	f, err := createTemp(r.fs, temp)
	if err != nil {
		return err
	}
	if err = allocate(f, r.size); errors.Is(err, errors.ErrUnsupported) {
		err = writeZeros(f, r.size)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// writeZeros takes space by writing to it.
func writeZeros(f File, size int64) error {
	const piece = 1 << 20 // few calls, little memory
	zeros := make([]byte, min(size, piece))
	for ; size > 0; size -= int64(len(zeros)) {
		zeros = zeros[:min(size, piece)]
		if err := WriteAll(f, zeros); err != nil {
			return err
		}
	}
	return nil
}
