package answer

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// Memory bounds what all answers of a server have together, from when they begin to be read until their clients have taken
// them. One half is for answers whose turn it is to be sent: who waits for it waits for clients alone, and of these, after
// Patience, the slowest loses its connection. The other half is for answers that are made ahead of their turn, and goes to
// those alone who need not wait for it, so that nobody has memory while he waits for what needs memory too.
type Memory struct {
	limit    int64
	patience time.Duration
	turn     *semaphore.Weighted
	ahead    atomic.Int64 // in use
	used     atomic.Int64
	waits    atomic.Int64
	dropped  atomic.Int64

	mu      sync.Mutex
	sending list.List // of *Hold, the slowest first
}

// NewMemory makes one of so many bytes; an answer has half of them at most.
func NewMemory(limit int64, patience time.Duration) *Memory {
	return &Memory{limit: limit, patience: patience, turn: semaphore.NewWeighted(limit / 2)}
}

// Hold is the memory of one answer.
type Hold struct {
	m     *Memory
	bytes int64
	ahead bool
	since time.Time
	drop  func()
	at    *list.Element
}

// Take takes memory for an answer whose turn it is, once there is some.
func (m *Memory) Take(ctx context.Context, bytes int64) (Hold, error) {
	bytes = min(bytes, m.limit/2)
	if !m.turn.TryAcquire(bytes) {
		m.waits.Add(1)
		if err := m.wait(ctx, bytes); err != nil {
			return Hold{}, err
		}
	}
	m.used.Add(bytes)
	return Hold{m: m, bytes: bytes}, nil
}

func (m *Memory) wait(ctx context.Context, bytes int64) error {
	for {
		limited, cancel := context.WithTimeout(ctx, m.patience)
		err := m.turn.Acquire(limited, bytes)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		m.dropSlowest()
	}
}

// TakeAhead takes memory for an answer whose turn it is not yet, if there is some now.
func (m *Memory) TakeAhead(bytes int64) (Hold, bool) {
	if m.ahead.Add(bytes) > m.limit/2 {
		m.ahead.Add(-bytes)
		return Hold{}, false
	}
	m.used.Add(bytes)
	return Hold{m: m, bytes: bytes, ahead: true}, true
}

// Sending says that the answer is on its way to the client, whom drop cuts off.
func (h *Hold) Sending(drop func()) {
	if h.m == nil || h.ahead {
		return
	}
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	h.since, h.drop = time.Now(), drop
	h.at = h.m.sending.PushBack(h)
}

// Release gives the memory back. The zero Hold has none.
func (h *Hold) Release() {
	m := h.m
	if m == nil {
		return
	}
	m.used.Add(-h.bytes)
	if h.ahead {
		m.ahead.Add(-h.bytes)
	} else {
		m.mu.Lock()
		if h.at != nil {
			m.sending.Remove(h.at)
		}
		m.mu.Unlock()
		m.turn.Release(h.bytes)
	}
	*h = Hold{}
}

// dropSlowest cuts off the client that has been taking its answer for the longest time, if that is long.
func (m *Memory) dropSlowest() {
	m.mu.Lock()
	var drop func()
	if e := m.sending.Front(); e != nil {
		if h := e.Value.(*Hold); time.Since(h.since) >= m.patience {
			drop = h.drop
			m.sending.Remove(e)
			h.at = nil
		}
	}
	m.mu.Unlock()
	if drop != nil {
		m.dropped.Add(1)
		drop()
	}
}

// MemoryMetrics says how much of a Memory is in use, how many answers waited for some, and how many clients were too slow then.
type MemoryMetrics struct{ Used, Limit, Waits, Dropped int64 }

// Metrics gives the counts.
func (m *Memory) Metrics() MemoryMetrics {
	return MemoryMetrics{m.used.Load(), m.limit, m.waits.Load(), m.dropped.Load()}
}
