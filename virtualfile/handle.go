package virtualfile

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Handle is a virtual file of a Disk: it may or may not hold a descriptor at any time. All methods but Close
// may be called concurrently.
type Handle struct {
	disk  *Disk
	name  atomic.Pointer[string]
	flags Flags // to open the file again: without FlagCreate
	align int

	// What the file was when it was opened. size is -1 for one that may be written to.
	id   fileID
	size int64

	// pins counts the users of the descriptor; absent if there is none. See descriptors.
	pins    atomic.Int32
	used    atomic.Bool // since the clock's hand passed
	closing atomic.Bool
	gone    atomic.Bool   // the name is another's, or nobody's; written under names.mu
	dirty   atomic.Bool   // written through the page cache since the last Sync
	file    File          // both are there while pins >= 0
	fd      int           // -1 if the file has none
	place   int           // in the ring; guarded by descriptors.mu
	opening chan struct{} // closed when whoever opens or closes the file is done; guarded by descriptors.mu

	broken breaker
}

// Name gives the present name.
func (h *Handle) Name() string { return *h.name.Load() }

// Disk gives the Disk it was opened by.
func (h *Handle) Disk() *Disk { return h.disk }

// Align is what offsets and sizes of transfers must be multiples of, in bytes.
func (h *Handle) Align() int { return h.align }

// Direct says that transfers bypass the page cache.
func (h *Handle) Direct() bool { return h.flags&FlagDirect != 0 }

// first takes what was opened under a new handle.
func (h *Handle) first(f File, flags Flags) error {
	x, err := factsOf(f)
	if err != nil {
		closeQuietly(f)
		return err
	}
	h.file, h.fd, h.flags = f, descriptorOf(f), flags
	h.id, h.size, h.align = x.id, x.size, h.disk.o.Align
	if flags&FlagWrite != 0 {
		h.size = -1
	}
	if flags&FlagDirect != 0 {
		h.align = max(h.align, x.align)
	}
	return nil
}

// check says what is wrong with a file that was opened again.
func (h *Handle) check(f File) error {
	x, err := factsOf(f)
	switch {
	case err != nil:
		return err
	case x.id != h.id:
		return fmt.Errorf("%w: another file has its name", ErrGone)
	case h.size >= 0 && x.size != h.size:
		return fmt.Errorf("%w: it has %d bytes and had %d", ErrGone, x.size, h.size)
	}
	return nil
}

// with does something with the file while its descriptor cannot be taken away.
func (h *Handle) with(op string, do func(f File) error) error {
	if !h.disk.gate.enter() {
		return pathError(op, h.Name(), ErrClosed)
	}
	defer h.disk.gate.leave()
	if err := h.disk.cache.pin(context.Background(), h); err != nil {
		return pathError(op, h.Name(), err)
	}
	defer h.unpin()
	return do(h.file)
}

// Size gives the length in bytes.
func (h *Handle) Size() (size int64, err error) {
	err = h.with("stat", func(f File) error {
		size, err = f.Size()
		return err
	})
	return size, err
}

// Sync makes bytes and length durable. After it has failed once, or a write with EIO, it fails for good.
func (h *Handle) Sync() error {
	return h.with("sync", func(f File) error {
		if err := h.broken.failed(); err != nil {
			return err
		}
		h.disk.counters.syncs.Add(1)
		h.dirty.Store(false) // before: a write meanwhile has to be synced again
		return h.broken.synced(h.Name(), f.Sync())
	})
}

// Truncate sets the length in bytes, which need not be aligned.
func (h *Handle) Truncate(size int64) error {
	return h.with("truncate", func(f File) error {
		if err := h.broken.failed(); err != nil {
			return err
		}
		h.touch()
		return h.broken.wrote(h.Name(), f.Truncate(size))
	})
}

// touch notes that the kernel holds something it has not reported on.
func (h *Handle) touch() {
	if !h.dirty.Load() {
		h.dirty.Store(true)
	}
}

// WriteAt writes n bytes of b, from at on, to offset off. at, n and off are multiples of Align. A write that
// fails in the kernel may put the file in doubt for good (ErrBroken).
func (h *Handle) WriteAt(b *Buffer, at, n int, off int64) error {
	if err := h.broken.failed(); err != nil {
		return err
	}
	one := [1]Read{{File: h, Off: off, Buf: b, At: at, Len: n}}
	if err := h.disk.transfer(context.Background(), one[:], true); err != nil {
		return pathError("write", h.Name(), err)
	}
	return one[0].Err
}

// Close gives the handle up. Its descriptor is closed at once, or when the last transfer that uses it ends.
func (h *Handle) Close() error {
	if h.closing.Swap(true) {
		return pathError("close", h.Name(), ErrClosed)
	}
	h.disk.names.drop(h)
	h.disk.counters.handles.Add(-1)
	return h.disk.cache.drop(h)
}

// closeQuietly closes what an error has made useless.
func closeQuietly(f File) {
	_ = f.Close() // there is an error already, and nothing was written
}
