package virtualfile

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/stratapg/strata/internal/tasks"
)

const (
	// stdWorkers bounds the threads that sit in pread at a time: as many as drives answer faster to.
	stdWorkers = 64
	// stdQueue is how many transfers may wait for a worker before those who submit wait too.
	stdQueue = 4 * stdWorkers
)

// stdEngine is pread and pwrite, each on a goroutine that waits for the kernel. Whoever cannot be cancelled
// does the last transfer of its batch itself; a batch of one then costs no handoff. With a context that can be
// done a handoff is the price of leaving in time: 2 to 3 µs, a twentieth of a read from the drive.
type stdEngine struct {
	queue   chan *transfer
	pending atomic.Int32 // queued or being done
	workers atomic.Int32
	group   *tasks.Group
}

var _ engine = (*stdEngine)(nil)

func newStdEngine() *stdEngine {
	return &stdEngine{queue: make(chan *transfer, stdQueue), group: tasks.New()}
}

func (*stdEngine) kind() EngineKind { return EngineStd }

func (e *stdEngine) run(ctx context.Context, b *batch) error {
	n := len(b.xs)
	if ctx.Done() == nil {
		for i := range n - 1 {
			e.hand(ctx, &b.xs[i])
		}
		x := &b.xs[n-1]
		x.end(x.do())
		return b.wait(ctx)
	}
	for i := range n {
		if b.xs[i].doCached() {
			b.xs[i].end(nil)
		} else if !e.hand(ctx, &b.xs[i]) {
			for j := i; j < n; j++ {
				b.xs[j].end(ctx.Err())
			}
			return ctx.Err()
		}
	}
	return b.wait(ctx)
}

// doCached reads what the page cache has, and fails if some of it is missing. It never waits for a device, so
// it may be done by a caller that has to stay ready to be cancelled: a handoff costs as much as the read.
func (x *transfer) doCached() bool {
	if x.write || x.fd < 0 || x.pin.Direct() || x.len == 0 {
		return false
	}
	p, off := x.next()
	n, err := preadCached(x.fd, p, off)
	if err != nil || n < len(p) {
		return false // the file's end included: another call has to tell it from a page that is missing
	}
	x.n += n
	return true
}

// hand gives a transfer to a worker. It waits while the queue is full, and fails if ctx is done then.
func (e *stdEngine) hand(ctx context.Context, x *transfer) bool {
	e.hire(e.pending.Add(1))
	select {
	case e.queue <- x:
		return true
	case <-ctx.Done():
		e.pending.Add(-1)
		return false
	}
}

// hire adds a worker if there are fewer than transfers.
func (e *stdEngine) hire(pending int32) {
	for {
		n := e.workers.Load()
		if n >= min(pending, stdWorkers) {
			return
		}
		if e.workers.CompareAndSwap(n, n+1) {
			if err := e.group.Go(e.work); errors.Is(err, tasks.ErrStopped) {
				e.workers.Add(-1)
			}
			return
		}
	}
}

func (e *stdEngine) work(ctx context.Context) {
	for {
		select {
		case x := <-e.queue:
			err := context.Canceled
			if !x.batch.dropped.Load() {
				err = x.do()
			}
			e.pending.Add(-1)
			x.end(err)
		case <-ctx.Done():
			return
		}
	}
}

func (e *stdEngine) close() error {
	e.group.Stop()
	return nil
}
