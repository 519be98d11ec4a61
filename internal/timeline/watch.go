package timeline

import (
	"context"
	"sync/atomic"

	"github.com/stratapg/strata/page"
)

// lsnWatch is an LSN that only grows and that can be waited for. Moving it costs two atomic operations while
// nobody waits. The zero value is at LSN 0.
type lsnWatch struct {
	at      atomic.Uint64
	changed atomic.Pointer[chan struct{}] // set while someone waits; closed and taken out at the next move
}

// get gives the LSN as it is now.
func (w *lsnWatch) get() page.LSN { return page.LSN(w.at.Load()) }

// advance moves the LSN up and wakes all that wait; one that is not above the present does nothing. There is
// one caller at a time.
func (w *lsnWatch) advance(lsn page.LSN) {
	if lsn <= w.get() {
		return
	}
	w.at.Store(uint64(lsn))
	if c := w.changed.Swap(nil); c != nil {
		close(*c)
	}
}

// next gives the LSN and a channel that is closed once it has moved on from there.
func (w *lsnWatch) next() (page.LSN, <-chan struct{}) {
	c := w.changed.Load()
	for c == nil {
		fresh := make(chan struct{})
		if w.changed.CompareAndSwap(nil, &fresh) {
			c = &fresh
		} else {
			c = w.changed.Load()
		}
	}
	// Read after the channel is in place: a move that this misses closes it.
	return w.get(), *c
}

// wait returns nil once the LSN is at or above lsn; otherwise why it gave up: ctx ended, or done was closed,
// which gives ErrClosed.
func (w *lsnWatch) wait(ctx context.Context, done <-chan struct{}, lsn page.LSN) error {
	for w.get() < lsn {
		at, changed := w.next()
		if at >= lsn {
			return nil
		}
		select {
		case <-changed:
		case <-done:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
