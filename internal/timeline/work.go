package timeline

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratapg/strata/internal/tasks"
)

// chore is one kind of a timeline's work in the background. It has a goroutine only while there is work, so that any
// number of timelines with nothing to do cost none.
type chore struct {
	group *tasks.Group // nil where there is never work
	do    func(ctx context.Context)
	state atomic.Int32
}

// States of a chore. At work is also one whose group has ended: nothing wakes it again.
const (
	resting int32 = iota
	working
	wanted // at work, and woken meanwhile
)

// wake has the work done once from now on, at least.
func (w *chore) wake() {
	if w.group == nil {
		return
	}
	for {
		switch s := w.state.Load(); s {
		case resting:
			if w.state.CompareAndSwap(resting, working) {
				_ = w.group.Go(w.run) // the timeline is closed otherwise
				return
			}
		case working:
			if w.state.CompareAndSwap(working, wanted) {
				return
			}
		default:
			return
		}
	}
}

func (w *chore) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.do(ctx)
		if w.state.CompareAndSwap(working, resting) {
			return
		}
		w.state.Store(working)
	}
}

// alarm is a call at a time, if it is set.
type alarm struct {
	ring func() // returns at once
	at   time.Time
	i    int // place in the heap, from 1; 0 if it is not set
}

// alarms are those of all timelines of a store, on one timer.
type alarms struct {
	mu struct {
		sync.Mutex
		heap  alarmHeap
		timer *time.Timer
		next  time.Time // when the timer rings; zero if it does not
	}
}

// set has an alarm ring after d, and not when it was to ring before.
func (s *alarms) set(a *alarm, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.at = time.Now().Add(d)
	if a.i == 0 {
		heap.Push(&s.mu.heap, a)
	} else {
		heap.Fix(&s.mu.heap, a.i-1)
	}
	s.armLocked()
}

// cancel has an alarm ring no more. It may be ringing just now.
func (s *alarms) cancel(a *alarm) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.i != 0 {
		heap.Remove(&s.mu.heap, a.i-1)
		s.armLocked()
	}
}

// armLocked has the timer ring for the first alarm. A timer that rings too early finds nothing to do.
func (s *alarms) armLocked() {
	if len(s.mu.heap) == 0 {
		if s.mu.timer != nil {
			s.mu.timer.Stop()
		}
		s.mu.next = time.Time{}
		return
	}
	first := s.mu.heap[0].at
	if first.Equal(s.mu.next) {
		return
	}
	s.mu.next = first
	if s.mu.timer == nil {
		s.mu.timer = time.AfterFunc(time.Until(first), s.ring)
	} else {
		s.mu.timer.Reset(time.Until(first))
	}
}

// ring rings all alarms that are due.
func (s *alarms) ring() {
	var due []*alarm
	s.mu.Lock()
	s.mu.next = time.Time{}
	for now := time.Now(); len(s.mu.heap) > 0 && !s.mu.heap[0].at.After(now); {
		due = append(due, heap.Pop(&s.mu.heap).(*alarm))
	}
	s.armLocked()
	s.mu.Unlock()
	for _, a := range due {
		a.ring()
	}
}

// len is how many are set.
func (s *alarms) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.heap)
}

// spread is a first wait of about d, by chance, so that timelines that are opened together do not all work together.
func spread(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// alarmHeap has the next alarm first.
type alarmHeap []*alarm

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h alarmHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].i, h[j].i = i+1, j+1
}

// Push and Pop are container/heap's.
func (h *alarmHeap) Push(x any) {
	a := x.(*alarm)
	*h = append(*h, a)
	a.i = len(*h)
}
func (h *alarmHeap) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	a.i = 0
	return a
}
