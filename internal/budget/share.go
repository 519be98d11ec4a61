package budget

import (
	"container/list"
	"context"
	"fmt"
	"sync"
)

// Share is a part of a budget. A nil *Share grants everything and counts nothing.
type Share struct {
	name   string
	budget *Budget

	mu struct {
		sync.Mutex
		limit       int64
		used        int64
		high        int64     // largest used so far
		queue       list.List // of *waiter, first come first
		waits       int64
		misreleases int64
	}
}

// waiter wants n bytes; granted is closed under the lock when it has them.
type waiter struct {
	n       int64
	granted chan struct{}
}

// Stats is the state of a share.
type Stats struct {
	Name        string
	Limit       int64 // bytes
	Used        int64 // bytes taken now; beyond Limit by one large request, or after Resize
	High        int64 // the most that was ever taken
	Waiting     int   // requests that wait now
	Waits       int64 // requests that ever had to wait
	Misreleases int64 // releases of more than was taken
}

// Acquire takes n bytes, in turn with others. An error is the context's; nothing is taken then.
func (s *Share) Acquire(ctx context.Context, n int64) error {
	if s == nil {
		return ctx.Err()
	}
	if n < 0 {
		return fmt.Errorf("budget: %d bytes of share %q wanted", n, s.name)
	}
	if err := ctx.Err(); err != nil {
		return s.gaveUp(n, err)
	}
	s.mu.Lock()
	if s.mu.queue.Len() == 0 && s.fitsLocked(n) {
		s.takeLocked(n)
		s.mu.Unlock()
		return nil
	}
	w := &waiter{n: n, granted: make(chan struct{})}
	place := s.mu.queue.PushBack(w)
	s.mu.waits++
	s.mu.Unlock()

	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
		s.leave(place)
		return s.gaveUp(n, ctx.Err())
	}
}

// leave takes a waiter out, who may have been granted its bytes in the meantime.
func (s *Share) leave(place *list.Element) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := place.Value.(*waiter)
	select {
	case <-w.granted:
		s.mu.used -= w.n
	default:
		s.mu.queue.Remove(place)
	}
	s.grantLocked()
}

func (s *Share) gaveUp(n int64, err error) error {
	return fmt.Errorf("budget: waiting for %d bytes of share %q: %w", n, s.name, err)
}

// TryAcquire takes n bytes if they are free and nobody waits for them.
func (s *Share) TryAcquire(n int64) bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < 0 || s.mu.queue.Len() > 0 || !s.fitsLocked(n) {
		return false
	}
	s.takeLocked(n)
	return true
}

// Release gives n bytes back.
func (s *Share) Release(n int64) {
	if s == nil {
		return
	}
	if !s.release(n) && strict {
		panic(fmt.Sprintf("budget: release of %d bytes of share %q, which are more than were taken", n, s.name))
	}
}

func (s *Share) release(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := n >= 0 && n <= s.mu.used
	if ok {
		s.mu.used -= n
	} else {
		s.mu.misreleases++
		s.mu.used = 0
	}
	s.grantLocked()
	return ok
}

// Resize changes the limit. What is taken stays taken; after shrinking, it runs off. It is an error, and
// nothing changes, if the shares together would exceed the budget.
func (s *Share) Resize(bytes int64) error {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.budget.takeLocked(s.name, s.mu.limit, bytes); err != nil {
		return err
	}
	s.mu.limit = bytes
	s.grantLocked()
	return nil
}

// Used is how many bytes are taken, Limit how many there are, High the most that was ever taken.
func (s *Share) Used() int64  { return s.Stats().Used }
func (s *Share) Limit() int64 { return s.Stats().Limit }
func (s *Share) High() int64  { return s.Stats().High }

// Stats gives the state of the share.
func (s *Share) Stats() Stats {
	if s == nil {
		return Stats{Limit: Unlimited}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Name: s.name, Limit: s.mu.limit, Used: s.mu.used, High: s.mu.high,
		Waiting: s.mu.queue.Len(), Waits: s.mu.waits, Misreleases: s.mu.misreleases}
}

// fitsLocked says whether n bytes may be taken now. Anything may when nothing is: it is alone then. The
// difference cannot overflow, the sum could.
func (s *Share) fitsLocked(n int64) bool { return s.mu.used == 0 || n <= s.mu.limit-s.mu.used }

func (s *Share) takeLocked(n int64) {
	s.mu.used += n
	s.mu.high = max(s.mu.high, s.mu.used)
}

// grantLocked serves those who wait, in turn, as long as they fit. It stops at the first who does not.
func (s *Share) grantLocked() {
	for place := s.mu.queue.Front(); place != nil; place = s.mu.queue.Front() {
		w := place.Value.(*waiter)
		if !s.fitsLocked(w.n) {
			return
		}
		s.mu.queue.Remove(place)
		s.takeLocked(w.n)
		close(w.granted)
	}
}
