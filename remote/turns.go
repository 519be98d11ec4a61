package remote

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/stratapg/strata/internal/clock"
)

// Bounded is a Storage whose requests wait for their turn, or one in front of such: Limited, and what wraps it.
type Bounded interface {
	// Turns gives how the requests of a kind get theirs; ok is false if nothing bounds them.
	Turns(k Kind) (t Turns, ok bool)
}

// Turns say how the requests of a kind share those that may run at once.
type Turns struct {
	// Limit is how many may run, Running how many do, Waiting how many would like to.
	Limit, Running, Waiting int64
	// Waits is how many had to wait, and Waited for how long together.
	Waits  int64
	Waited time.Duration
}

// turnsOf asks a storage that is wrapped.
func turnsOf(s Storage, k Kind) (t Turns, ok bool) {
	if b, is := s.(Bounded); is {
		return b.Turns(k)
	}
	return t, false
}

// turns are those of one kind.
type turns struct {
	limit                          int64
	free                           *semaphore.Weighted
	running, waiting, waits, nanos atomic.Int64
}

// take waits for a turn.
func (t *turns) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !t.free.TryAcquire(1) {
		begin := clock.System()
		t.waiting.Add(1)
		err := t.free.Acquire(ctx, 1)
		t.waiting.Add(-1)
		t.waits.Add(1)
		t.nanos.Add(int64(clock.System().Sub(begin)))
		if err != nil {
			return err
		}
	}
	t.running.Add(1)
	return nil
}

func (t *turns) give() {
	t.running.Add(-1)
	t.free.Release(1)
}

func (t *turns) now() Turns {
	return Turns{t.limit, t.running.Load(), t.waiting.Load(), t.waits.Load(), time.Duration(t.nanos.Load())}
}
