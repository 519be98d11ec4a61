package virtualfile

import (
	"container/list"
	"context"
	"errors"
)

// slot takes the right to open one file, and closes another one for it if need be. If all are in use it
// waits, or fails with errBusy.
func (c *descriptors) slot(ctx context.Context, wait bool) error {
	c.seeking.Add(1) // before it looks: whoever lets a descriptor go after that wakes the queue
	defer c.seeking.Add(-1)
	for woken := false; ; woken = true {
		c.mu.Lock()
		if woken || c.mu.queue.Len() == 0 {
			if v, ok := c.grabLocked(); ok {
				c.mu.Unlock()
				v.close(c)
				return nil
			}
		}
		if !wait {
			c.mu.Unlock()
			return errBusy
		}
		ready := make(chan struct{})
		var at *list.Element
		if woken {
			at = c.mu.queue.PushFront(ready)
		} else {
			at = c.mu.queue.PushBack(ready)
			c.disk.counters.waits.Add(1)
		}
		c.mu.Unlock()
		select {
		case <-ready:
		case <-ctx.Done():
			c.leave(at, ready)
			return ctx.Err()
		}
	}
}

// leave takes a waiter out of the queue; if it was woken already, the next one is in its stead.
func (c *descriptors) leave(at *list.Element, ready chan struct{}) {
	c.mu.Lock()
	select {
	case <-ready:
		c.mu.Unlock()
		c.wake()
	default:
		c.mu.queue.Remove(at)
		c.mu.Unlock()
	}
}

// wake lets the first of those who wait look again.
func (c *descriptors) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.mu.queue.Front(); at != nil {
		close(c.mu.queue.Remove(at).(chan struct{}))
	}
}

func (c *descriptors) freeSlot() {
	c.mu.Lock()
	c.mu.open--
	c.mu.Unlock()
	c.wake()
}

// victim is a descriptor that was taken away, and the handle's turn if it has to be synced first.
type victim struct {
	h    *Handle
	file File
	turn chan struct{}
}

// grabLocked finds a free slot, or one that is to be freed by closing a victim.
func (c *descriptors) grabLocked() (victim, bool) {
	if c.mu.open < c.limit {
		c.mu.open++
		return victim{}, true
	}
	return c.victimLocked()
}

// victimLocked takes the descriptor of a handle that nobody uses. In the first round the hand spares those
// used lately, in the first two those whose file was removed, as nothing can open it again.
func (c *descriptors) victimLocked() (victim, bool) {
	n := len(c.mu.ring)
	for i := 0; i < 3*n && len(c.mu.ring) > 0; i++ {
		c.mu.hand = (c.mu.hand + 1) % len(c.mu.ring)
		h := c.mu.ring[c.mu.hand]
		if h.used.Swap(false) && i < n || h.gone.Load() && i < 2*n || h.opening != nil {
			continue // the last has somebody who is about to use it
		}
		f, ok := c.takeLocked(h)
		if !ok {
			continue
		}
		v := victim{h: h, file: f}
		if h.dirty.Load() && !h.Direct() {
			v.turn = make(chan struct{})
			h.opening = v.turn
		}
		c.disk.counters.evictions.Add(1)
		return v, true
	}
	return victim{}, false
}

// close closes a descriptor that was taken away. What was written through the page cache is synced first:
// a kernel reports a page that it could not write to descriptors that were open then, and with none it may
// forget it.
func (v victim) close(c *descriptors) {
	if v.file == nil {
		return
	}
	if v.turn != nil {
		v.h.dirty.Store(false)
		if v.h.broken.failed() == nil {
			_ = v.h.broken.synced(v.h.Name(), v.file.Sync()) // kept for the handle's next call
		}
		defer c.pass(v.h, v.turn)
	}
	if err := v.file.Close(); err != nil {
		_ = v.h.broken.synced(v.h.Name(), err) // the same
	}
}

// closeAll closes every descriptor. Nobody is using one any more.
func (c *descriptors) closeAll() error {
	c.mu.Lock()
	ring := append([]*Handle(nil), c.mu.ring...)
	c.mu.Unlock()
	var errs []error
	for _, h := range ring {
		errs = append(errs, c.drop(h))
	}
	return errors.Join(errs...)
}
