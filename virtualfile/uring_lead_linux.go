package virtualfile

import (
	"context"
	"slices"
	"syscall"
	"time"
	"unsafe"
)

// enqueue queues the batch's transfers, and submits them if nobody else is about to.
func (u *uring) enqueue(b *batch) role {
	u.mu.Lock()
	if u.mu.broken != nil {
		u.mu.Unlock()
		return refused
	}
	for i := range b.xs {
		u.mu.queue = append(u.mu.queue, request{x: &b.xs[i]})
	}
	lead := u.mu.lead
	var n uint32
	switch lead {
	case noLeader:
		u.mu.lead = leaderBusy
	case leaderWaits:
		n = u.beginLocked()
	}
	u.mu.Unlock()
	if lead == noLeader {
		return mustLead
	}
	u.submitAll(n)
	return mustWait
}

// beginLocked prepares what is queued and gives how many submissions are to be handed over by submitAll: none
// while somebody is at it, who takes along what has come meanwhile. Two at a time would meet at a lock in the
// kernel, where the second spins; and each call rings the device's bell.
func (u *uring) beginLocked() uint32 {
	if u.mu.submits > 0 && u.ring.pending() > 0 {
		return 0
	}
	n := u.fillLocked()
	if n > 0 {
		u.mu.submits++
	}
	return n
}

// submitAll hands over the n submissions that beginLocked gave, and what is queued meanwhile, for as long as
// the leader is not there to do so.
func (u *uring) submitAll(n uint32) {
	for n > 0 {
		u.submit(n)
		u.mu.Lock()
		u.mu.submits--
		n = 0
		if u.mu.lead == leaderWaits && len(u.mu.queue) > 0 && u.ring.pending() == 0 { // else the kernel is short of something
			n = u.beginLocked()
		}
		u.mu.Unlock()
	}
}

// submit hands over what was published, while somebody else waits for completions.
func (u *uring) submit(n uint32) {
	if n == 0 {
		return
	}
	if err := u.ring.submit(n); err != nil {
		u.fail(err)
	}
}

// fillLocked prepares as many of the queue as there are slots, and gives how many submissions the kernel
// has still to take. The ring has as many places as there are slots: should cancellations take some for a
// moment, the rest stays in the queue for the next round.
func (u *uring) fillLocked() uint32 {
	i := 0
	for ; i < len(u.mu.queue) && len(u.mu.free) > 0; i++ {
		e := u.ring.prepare()
		if e == nil {
			break
		}
		last := len(u.mu.free) - 1
		at := u.mu.free[last]
		u.mu.free = u.mu.free[:last]
		u.mu.serial++
		s := &u.mu.slots[at]
		*s = slot{request: u.mu.queue[i], id: u.mu.serial<<slotBits | uint64(at)}
		s.x.describe(e, s.id)
		u.mu.inFlight++
	}
	u.mu.queue = slices.Delete(u.mu.queue, 0, i)
	return u.ring.publish()
}

// describe tells the kernel what is left of the transfer.
func (x *transfer) describe(e *sqe, id uint64) {
	p, off := x.next()
	e.op, e.fd, e.off, e.userData = opRead, int32(x.fd), uint64(off), id
	e.addr, e.len = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))), uint32(len(p))
}

// leadFor leads until the batch has ended, and no longer than the context lasts and completions keep coming.
func (u *uring) leadFor(ctx context.Context, b *batch) {
	for {
		if u.round() == 0 || b.left.Load() == 0 || ctx.Err() != nil {
			break
		}
		u.crowd.yield() // those whose transfers ended may have new ones, which can go in the same call
	}
	u.mu.Lock()
	idle := u.idleLocked()
	u.mu.Unlock()
	if !idle && u.tasks.Go(func(context.Context) { u.follow() }) != nil {
		u.follow()
	}
}

// follow leads until nothing is under way.
func (u *uring) follow() {
	for {
		u.crowd.yield() // as in leadFor
		u.mu.Lock()
		idle := u.idleLocked()
		u.mu.Unlock()
		if idle {
			return
		}
		u.mu.Lock()
		n := u.beginLocked()
		u.mu.lead = leaderWaits
		u.mu.Unlock()
		// Apart from the wait: whoever comes meanwhile need not fear for its transfers, and under load there is
		// often something to reap by then.
		u.submitAll(n)
		u.await(0, followerWaits)
	}
}

// idleLocked ends the leadership if nothing is under way.
func (u *uring) idleLocked() bool {
	if u.mu.inFlight > 0 || len(u.mu.queue) > 0 {
		return false
	}
	u.mu.lead = noLeader
	return true
}

// ended is a transfer that the kernel is done with.
type ended struct {
	x   *transfer
	err error
}

// round submits what is queued and waits for completions in one call, ends their transfers, and gives how many
// there were.
func (u *uring) round() int {
	u.mu.Lock()
	n := u.fillLocked()
	u.mu.lead = leaderWaits
	u.mu.Unlock()
	return u.await(n, callerLeads)
}

// await submits n, waits for completions, ends their transfers, and gives how many there were.
func (u *uring) await(n uint32, most time.Duration) int {
	if err := u.wait(n, most); err != nil {
		u.fail(err)
	}
	var ends [uringReap]ended
	k := 0
	u.mu.Lock()
	u.mu.lead = leaderBusy
	n = uint32(u.ring.reap(u.done[:]))
	for _, c := range u.done[:n] {
		if x, err := u.settleLocked(c); x != nil {
			ends[k] = ended{x, err}
			k++
		}
	}
	u.mu.Unlock()
	for _, e := range ends[:k] {
		e.x.end(e.err) // may close a file: not under the lock
	}
	return int(n)
}

// wait is the ring's. Once that has failed it is a mere pause: what the kernel already has goes on.
func (u *uring) wait(n uint32, most time.Duration) error {
	u.mu.Lock()
	broken := u.mu.broken
	u.mu.Unlock()
	if broken == nil {
		return u.ring.wait(n, most)
	}
	pause := time.NewTimer(most)
	<-pause.C
	return broken
}

// settleLocked takes one completion. It gives the transfer if that has ended; if there is more to do it is
// queued again, before all others.
func (u *uring) settleLocked(c cqe) (*transfer, error) {
	at := c.userData & noSlot
	if at >= uringDepth || u.mu.slots[at].id != c.userData || u.mu.slots[at].x == nil {
		return nil, nil // the answer to a cancellation
	}
	s := u.mu.slots[at]
	u.mu.slots[at] = slot{}
	u.mu.free = append(u.mu.free, uint16(at))
	u.mu.inFlight--
	again, err := s.take(c.res)
	if again {
		u.mu.queue = slices.Insert(u.mu.queue, 0, s.request)
		return nil, nil
	}
	return s.x, err
}

// take notes what the kernel answered, and tells whether it has to be asked again.
func (s *slot) take(res int32) (again bool, err error) {
	if res >= 0 {
		again, err = s.x.advance(int(res), nil)
		if again && s.abandoned {
			return false, syscall.ECANCELED
		}
		return again, err
	}
	errno := syscall.Errno(-res)
	switch errno {
	case syscall.EINTR, syscall.EAGAIN, syscall.ECANCELED: // the last also when the submitting thread ended
		s.retries++
		if !s.abandoned && s.retries <= maxRetries {
			return true, nil
		}
		return false, errno
	}
	_, err = s.x.advance(0, errno)
	return false, err
}
