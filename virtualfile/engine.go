package virtualfile

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
)

// engine brings transfers to the kernel. run does all transfers of a batch at once, and ends each of them
// exactly once (transfer.end), from any goroutine, when the kernel touches its buffer no more. It returns
// when all have ended, or with the error of ctx as soon as that is done: what has reached the kernel goes on
// then, and what has not may be ended with that error. A transfer without a descriptor is done by its file
// (transfer.do). run may be called concurrently; close is called once, when no transfer is under way.
type engine interface {
	kind() EngineKind
	run(ctx context.Context, b *batch) error
	close() error
}

// transfer is one read or write on its way. It keeps its buffer and its file's descriptor until it ends.
type transfer struct {
	batch *batch
	pin   *Handle // the descriptor is pinned in the cache
	file  File
	fd    int // of file; -1 if it has none
	write bool
	align int // of the file
	off   int64
	buf   *Buffer
	at    int
	len   int
	read  int // which of the caller's reads it is

	n   int   // bytes done so far
	err error // set by end
}

// next gives what is still to be done, and where in the file.
func (x *transfer) next() ([]byte, int64) {
	return x.buf.b[x.at+x.n : x.at+x.len], x.off + int64(x.n)
}

// advance takes what one system call answered, and tells whether another one has to follow. The error is
// the transfer's. A read that ends in the midst of a sector met the file's end: to go on from there would
// be misaligned.
func (x *transfer) advance(n int, err error) (again bool, _ error) {
	switch {
	case errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.EAGAIN):
		return true, nil
	case err != nil:
		return false, err
	case n == 0 && x.write && x.len > 0:
		return false, io.ErrShortWrite
	}
	x.n += n
	return n > 0 && x.n < x.len && (x.write || x.n%x.align == 0), nil
}

// do does the transfer on the caller's goroutine. It does not end it.
func (x *transfer) do() error {
	for {
		n, err := x.once()
		again, err := x.advance(n, err)
		if !again {
			return err
		}
	}
}

func (x *transfer) once() (n int, err error) {
	p, off := x.next()
	switch {
	case x.fd >= 0 && x.write:
		return pwrite(x.fd, p, off)
	case x.fd >= 0:
		return pread(x.fd, p, off)
	case x.write:
		return x.file.WriteAt(p, off)
	}
	if n, err = x.file.ReadAt(p, off); errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func opName(write bool) string {
	if write {
		return "write"
	}
	return "read"
}

// end notes the transfer's error and gives back what it held. The last transfer of a batch gives back what
// that held and wakes who waits for it.
func (x *transfer) end(err error) {
	b := x.batch
	if err != nil {
		x.err = pathError(opName(x.write), x.pin.Name(), err)
		b.disk.counters.failed.Add(1)
		if x.write {
			_ = x.pin.broken.wrote(x.pin.Name(), err)
		}
	}
	x.buf.Release()
	x.pin.unpin()
	if b.left.Add(-1) == 0 {
		d := b.disk
		d.inFlight.Release(b.bytes)
		b.done <- struct{}{}
		d.gate.leave()
	}
}

// batch is a set of transfers that are waited for together.
type batch struct {
	disk  *Disk
	bytes int64 // taken from inFlight
	xs    []transfer
	left  atomic.Int32  // transfers not ended yet
	done  chan struct{} // one token when left comes to 0
	// dropped says that nobody waits any more: what has not begun need not.
	dropped atomic.Bool
}

// keptTransfers bounds the transfers that a batch keeps room for when it is not in use.
const keptTransfers = 256

var batches = sync.Pool{New: func() any { return &batch{done: make(chan struct{}, 1)} }}

// recycle makes the batch another's. One that was not waited for to its end is left to the collector
// instead: its transfers still point to it.
func (b *batch) recycle() {
	if cap(b.xs) > keptTransfers {
		b.xs = nil
	}
	clear(b.xs)
	b.xs = b.xs[:0]
	b.disk = nil
	batches.Put(b)
}

// wait waits for all transfers or for ctx.
func (b *batch) wait(ctx context.Context) error {
	if ctx.Done() == nil {
		<-b.done
		return nil
	}
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		b.dropped.Store(true)
		return ctx.Err()
	}
}
