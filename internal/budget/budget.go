// Package budget divides a number of bytes among those who spend memory: each has a Share with a limit and
// waits, in the order of arrival, until what it wants is free.
package budget

import (
	"context"
	"fmt"
	"sync"
)

// Budget is a total that shares are cut from.
type Budget struct {
	total int64

	mu     sync.Mutex
	shares []*Share
}

// New makes a budget of so many bytes.
func New(total int64) *Budget { return &Budget{total: total} }

// Share cuts a share of so many bytes. It is an error if the shares together would exceed the total.
func (b *Budget) Share(name string, bytes int64) (*Share, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum := bytes
	for _, s := range b.shares {
		sum += s.limit
	}
	if bytes <= 0 || sum > b.total {
		return nil, fmt.Errorf("budget: share %q of %d bytes: the shares would be %d bytes of %d", name, bytes, sum, b.total)
	}
	s := &Share{name: name, limit: bytes, freed: make(chan struct{})}
	b.shares = append(b.shares, s)
	return s, nil
}

// Share is a part of a budget. A nil Share has no limit.
type Share struct {
	name  string
	limit int64

	mu    sync.Mutex
	used  int64
	freed chan struct{} // closed and replaced at each release
}

// Acquire takes n bytes and waits for them if need be. More than the limit passes alone, when all is free.
func (s *Share) Acquire(ctx context.Context, n int64) error {
	if s == nil {
		return ctx.Err()
	}
	for {
		s.mu.Lock()
		freed := s.freed
		s.mu.Unlock()
		if s.TryAcquire(n) {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TryAcquire takes n bytes if they are free.
func (s *Share) TryAcquire(n int64) bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used > 0 && s.used+n > s.limit {
		return false
	}
	s.used += n
	return true
}

// Release gives n bytes back.
func (s *Share) Release(n int64) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
	close(s.freed)
	s.freed = make(chan struct{})
}

// Used is how many bytes are taken.
func (s *Share) Used() int64 {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Limit is how many bytes there are.
func (s *Share) Limit() int64 {
	if s == nil {
		return 0
	}
	return s.limit
}
