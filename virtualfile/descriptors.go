package virtualfile

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
)

// absent is the number of pins of a handle without a descriptor. Those who try to pin it meanwhile add to
// it nothing, so it is exact.
const absent = -1 << 30

// descriptors is the cache of open files of a Disk: it opens them when they are used and closes others for
// it, so that no more than limit are open.
//
// A handle is used between pin and unpin. While it has a descriptor, that is one compare-and-swap and one
// addition on a word of its own; nothing is locked. A descriptor without pins may be taken away by swapping
// the count for absent: who succeeds owns it alone and closes it, after the lock was let go. The victim is
// found by a clock: handles used since the hand passed are spared once.
//
// Who needs a descriptor when all are pinned waits for a slot, first come first served, and holds no pin
// while it waits. So those who hold pins wait for nothing but the kernel, and there is no deadlock: a batch
// that finds no slot for its next file begins with the files it has, and goes on when those are read.
type descriptors struct {
	disk    *Disk
	limit   int
	seeking atomic.Int32 // who looks for a slot now, waiting or not
	mu      struct {
		sync.Mutex
		open  int       // slots taken: by open files and by those being opened or closed
		ring  []*Handle // with a descriptor
		hand  int
		queue list.List // of chan struct{}, who waits for a slot
	}
}

func (c *descriptors) init(d *Disk, limit int) { c.disk, c.limit = d, limit }

// tryPin pins the descriptor if there is one.
func (h *Handle) tryPin() bool {
	for {
		n := h.pins.Load()
		if n < 0 {
			return false
		}
		if h.pins.CompareAndSwap(n, n+1) {
			if !h.used.Load() {
				h.used.Store(true)
			}
			return true
		}
	}
}

// unpin lets the descriptor go. The last one out closes that of a closed handle.
func (h *Handle) unpin() {
	if h.pins.Add(-1) != 0 {
		return
	}
	c := &h.disk.cache
	switch {
	case h.closing.Load():
		if err := c.drop(h); err != nil {
			h.disk.log.Warn("closing a file failed", "file", h.Name(), "error", err)
		}
	case c.seeking.Load() > 0:
		c.wake()
	}
}

// pin makes sure that h has a descriptor, and keeps it from being taken away. A nil ctx does not wait for
// others: it fails with errBusy.
func (c *descriptors) pin(ctx context.Context, h *Handle) error {
	if h.closing.Load() {
		return ErrClosed
	}
	if h.tryPin() {
		return nil
	}
	for {
		turn, err := c.turn(ctx, h)
		if err != nil || h.tryPin() {
			if turn != nil {
				c.pass(h, turn)
			}
			return err
		}
		if turn == nil {
			continue
		}
		err = c.reopen(ctx, h)
		c.pass(h, turn)
		return err
	}
}

// turn makes the caller the only one to open h (and gives what to pass on), or waits for whoever is.
func (c *descriptors) turn(ctx context.Context, h *Handle) (chan struct{}, error) {
	c.mu.Lock()
	other := h.opening
	if other == nil {
		h.opening = make(chan struct{})
		defer c.mu.Unlock()
		return h.opening, nil
	}
	c.mu.Unlock()
	if ctx == nil {
		return nil, errBusy
	}
	select {
	case <-other:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *descriptors) pass(h *Handle, turn chan struct{}) {
	c.mu.Lock()
	h.opening = nil
	c.mu.Unlock()
	close(turn)
}

// reopen opens h's file again and leaves it pinned.
func (c *descriptors) reopen(ctx context.Context, h *Handle) error {
	if h.closing.Load() {
		return ErrClosed
	}
	if err := c.slot(ctx, ctx != nil); err != nil {
		return err
	}
	f, err := c.openAgain(ctx, h)
	if err != nil {
		c.freeSlot()
		return err
	}
	h.file, h.fd = f, descriptorOf(f)
	c.disk.counters.reopens.Add(1)
	c.publish(h, 1)
	return nil
}

// openAgain opens the file under its present name. If that changes meanwhile, what was found means nothing.
func (c *descriptors) openAgain(ctx context.Context, h *Handle) (File, error) {
	for {
		name, err := c.disk.names.current(ctx, h)
		if err != nil {
			return nil, err
		}
		f, err := c.openFile(name, h.flags)
		if err == nil {
			if err = h.check(f); err == nil {
				return f, nil
			}
			closeQuietly(f)
		}
		if c.disk.names.still(h, name) {
			return nil, goneError(name, err)
		}
	}
}

// openFile opens a file. If the process has no descriptor left, because others took more than the limit
// leaves them, unused ones are closed until there is one.
func (c *descriptors) openFile(name string, flags Flags) (File, error) {
	for {
		f, err := c.disk.fs.OpenFile(name, flags)
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) || !c.relieve() {
			return f, err
		}
	}
}

// relieve closes a descriptor that nobody uses, and tells whether there was one.
func (c *descriptors) relieve() bool {
	c.mu.Lock()
	v, ok := c.victimLocked()
	c.mu.Unlock()
	if ok {
		v.close(c)
		c.freeSlot()
	}
	return ok
}

// publish puts h, which has a file and a slot now, into the ring.
func (c *descriptors) publish(h *Handle, pins int32) {
	h.used.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	h.place = len(c.mu.ring)
	c.mu.ring = append(c.mu.ring, h)
	h.pins.Store(pins) // under the lock: the clock must not find it with less than it has
}

// takeLocked takes h's descriptor away if nobody uses it.
func (c *descriptors) takeLocked(h *Handle) (File, bool) {
	if !h.pins.CompareAndSwap(0, absent) {
		return nil, false
	}
	last := len(c.mu.ring) - 1
	c.mu.ring[h.place] = c.mu.ring[last]
	c.mu.ring[h.place].place = h.place
	c.mu.ring[last] = nil
	c.mu.ring = c.mu.ring[:last]
	f := h.file
	h.file, h.fd = nil, -1
	return f, true
}

// drop closes the descriptor of a closed handle, unless it is in use.
func (c *descriptors) drop(h *Handle) error {
	c.mu.Lock()
	f, ok := c.takeLocked(h)
	c.mu.Unlock()
	if !ok {
		return nil
	}
	err := f.Close()
	c.freeSlot()
	return err
}
