package virtualfile

import (
	"context"
	"slices"
)

// abandon is called for a batch that nobody waits for any more, for the reason err. What is still queued
// ends at once. What the kernel has keeps its buffer and its file until the kernel answers; it is asked to
// hurry, which it can where the transfer has not begun to move data, on a pipe for example.
func (u *uring) abandon(b *batch, err error) {
	var queued []*transfer
	var begun []uint64
	u.mu.Lock()
	u.mu.queue = slices.DeleteFunc(u.mu.queue, func(r request) bool {
		if r.x.batch == b {
			queued = append(queued, r.x)
		}
		return r.x.batch == b
	})
	for i := range u.mu.slots {
		if s := &u.mu.slots[i]; s.x != nil && s.x.batch == b {
			s.abandoned = true
			begun = append(begun, s.id)
		}
	}
	u.mu.Unlock()
	for _, x := range queued {
		x.end(err)
	}
	for try := 0; len(begun) > 0 && try < maxRetries; try++ {
		begun = u.cancel(begun)
	}
}

// cancel asks the kernel to cancel, and gives those for which the ring had no room.
func (u *uring) cancel(ids []uint64) []uint64 {
	u.mu.Lock()
	if u.mu.broken != nil {
		u.mu.Unlock()
		return nil
	}
	for len(ids) > 0 {
		e := u.ring.prepare()
		if e == nil {
			break
		}
		e.op, e.fd, e.addr, e.userData = opAsyncCancel, -1, ids[0], noSlot
		ids = ids[1:]
	}
	n := u.ring.publish()
	u.mu.Unlock()
	u.submit(n)
	return ids
}

// fail is called when the kernel refuses calls on a ring that it took before: a sandbox that was put up
// meanwhile, for example. What it has not taken, and all that comes later, is done with pread and pwrite.
func (u *uring) fail(err error) {
	u.mu.Lock()
	if u.mu.broken == nil {
		u.mu.broken = err
		u.log.Warn("io_uring fails, reads and writes go on without it", "error", err)
	}
	for _, id := range u.ring.takeBack() {
		at := id & noSlot
		if at >= uringDepth || u.mu.slots[at].id != id {
			continue
		}
		u.mu.queue = append(u.mu.queue, u.mu.slots[at].request)
		u.mu.slots[at] = slot{}
		u.mu.free = append(u.mu.free, uint16(at))
		u.mu.inFlight--
	}
	queue := slices.Clone(u.mu.queue)
	clear(u.mu.queue)
	u.mu.queue = u.mu.queue[:0]
	u.mu.Unlock()
	for _, r := range queue {
		u.std.hand(context.Background(), r.x) // which never ends
	}
}
