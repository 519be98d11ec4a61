package timeline

import (
	"context"
	"sync"
)

// spread calls do for each of n pieces of a job that has a lane: in order, on the caller's goroutine, and on others
// beside it for as long as there are lanes that no other job waits for, and no reads to be gentle with. The first error
// ends it.
func (l *lanes) spread(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &spreading{lanes: l, n: n, do: do, cancel: cancel}
	for i, ok := s.take(ctx); ok; i, ok = s.take(ctx) {
		s.help(ctx)
		s.run(ctx, i)
	}
	s.helpers.Wait()
	return context.Cause(ctx)
}

type spreading struct {
	lanes   *lanes
	n       int
	do      func(ctx context.Context, i int) error
	cancel  context.CancelCauseFunc
	helpers sync.WaitGroup
	mu      struct {
		sync.Mutex
		next int
	}
}

// take gives the next piece, unless there is none or the work has ended.
func (s *spreading) take(ctx context.Context) (i int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.next == s.n || ctx.Err() != nil {
		return 0, false
	}
	s.mu.next++
	return s.mu.next - 1, true
}

// help has pieces done on free lanes.
func (s *spreading) help(ctx context.Context) {
	for range s.left() {
		if s.lanes.hold() || !s.lanes.tryTake() {
			return
		}
		s.helpers.Go(func() {
			defer s.lanes.give()
			for !s.lanes.wanted() && !s.lanes.hold() {
				i, ok := s.take(ctx)
				if !ok {
					return
				}
				s.run(ctx, i)
			}
		})
	}
}

func (s *spreading) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n - s.mu.next
}

func (s *spreading) run(ctx context.Context, i int) {
	if err := s.do(ctx, i); err != nil {
		s.cancel(err)
	}
}
