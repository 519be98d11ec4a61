package virtualfile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// WriterOptions have useful zeros.
type WriterOptions struct {
	// Start is the offset of the first byte, a multiple of the file's Align.
	Start int64
	// Buffer is the size in bytes of either of the two buffers, rounded up to BufferAlign; the default is the
	// measured best. Larger ones cost memory, smaller ones bandwidth.
	Buffer int
	// See, if set, is shown every stretch of the file, in order and without gaps, while it is written: whole
	// buffers, and at the end what is left, padding included. It runs on a goroutine of the Writer's, so that the
	// drive does not wait for it.
	See func(off int64, b []byte)
}

// defaultWriteBuffer is the size of a Writer's buffer: the smallest that keeps a drive busy with one write at
// a time. Files of 128 MiB in records of 8 KiB, synced, MiB/s of the fastest round of several runs,
// on two cores that others used too, so that columns are not to be divided (BenchmarkWriter):
//
//	buffer          64K   128K   256K   512K     1M     2M     4M
//	direct-rw       532    951  1,116  1,884  2,252  2,363  1,838
//	bare pwrite     729  1,025  1,422  2,085  2,423  2,666  2,152
//	buffered      1,329  1,393  1,483  1,654  1,665  1,854  1,688
//	bare pwrite   1,620  1,670  1,523  1,703  1,871  1,614  1,770
const defaultWriteBuffer = 1 << 20

// ErrEnded says that a Writer is used after Finish or Abort.
var ErrEnded = errors.New("writer is used after its end")

// writeBuffers is how many buffers a Writer has: one to fill, one to write.
const writeBuffers = 2

// Writer appends to a file through two aligned buffers: one is filled while the other is written in the
// background, and a caller waits only while both are full. Every write but the last is one whole buffer, so
// the k-th one lies at Start + k × Buffer. The second buffer is taken when the first is full.
//
// An error shows at the next call and at Finish; it stays, nothing is written after it, and nothing is tried
// again: a full disk is the caller's to deal with. Finish or Abort must be called, for the sake of the memory
// and the goroutine. Not for concurrent use, but for Written.
type Writer struct {
	file *Handle
	see  func(off int64, b []byte)
	size int // of a buffer

	buf  *Buffer // being filled; nil before the first byte, and after a full one was handed over
	fill []byte  // its bytes
	n    int     // so many of them are filled
	off  int64   // of fill[0] in the file
	err  error   // what every call gives: a wrong start, or that the Writer has ended

	bufs int          // buffers taken from the pool
	out  int          // of them, with the background
	full chan stretch // to the background; nil before the first full buffer
	free chan *Buffer // and back
	bg   sync.WaitGroup

	first   atomic.Pointer[error] // the first failed write
	drop    atomic.Bool           // what has not begun is not to be written
	written atomic.Int64
}

// stretch is a piece of the file on its way to it.
type stretch struct {
	buf *Buffer
	n   int
	off int64
}

// NewWriter begins to append to f at Start. A wrong Start shows at the first call.
func NewWriter(f *Handle, o WriterOptions) *Writer {
	if o.Buffer == 0 {
		o.Buffer = defaultWriteBuffer
	}
	size := (max(o.Buffer, BufferAlign) + BufferAlign - 1) &^ (BufferAlign - 1)
	w := &Writer{file: f, see: o.See, size: size, off: o.Start}
	w.written.Store(o.Start)
	if o.Start < 0 || o.Start%int64(f.Align()) != 0 {
		w.err = fmt.Errorf("%s: a writer's start is %d: it has to be a multiple of %d", f.Name(), o.Start, f.Align())
	}
	return w
}

// Offset is where the next byte goes.
func (w *Writer) Offset() int64 { return w.off + int64(w.n) }

// Written is the offset before which all bytes can be read from the file; Start at first.
func (w *Writer) Written() int64 { return w.written.Load() }

// Err gives the error that the next call would give.
func (w *Writer) Err() error {
	if w.err != nil {
		return w.err
	}
	if e := w.first.Load(); e != nil {
		return *e
	}
	return nil
}

// Write appends p, and waits while both buffers are full. After an error it says how much of p was taken.
func (w *Writer) Write(p []byte) (int, error) {
	if w.buf != nil && len(p) < w.size-w.n && w.first.Load() == nil {
		w.n += copy(w.fill[w.n:], p)
		return len(p), nil
	}
	return w.WriteContext(context.Background(), p)
}

// WriteContext is Write with an end to its waits. If the context ends one, the Writer can be used on.
func (w *Writer) WriteContext(ctx context.Context, p []byte) (int, error) {
	for taken := 0; ; {
		if err := w.Wait(ctx); err != nil || taken == len(p) {
			return taken, err
		}
		n := copy(w.fill[w.n:], p[taken:])
		w.Advance(n)
		if taken += n; taken == len(p) {
			return taken, nil
		}
	}
}

// Room gives up to n bytes of the buffer that is being filled, at least one, for the caller to fill in place;
// Advance then appends as many of them as were. It waits while both buffers are full. It gives nil after an
// error, which every other call gives.
func (w *Writer) Room(n int) []byte {
	if w.Wait(context.Background()) != nil {
		return nil
	}
	end := min(w.n+max(n, 1), w.size)
	return w.fill[w.n:end:end]
}

// Advance appends the first n bytes of what Room gave last.
func (w *Writer) Advance(n int) {
	if w.n += n; w.n == w.size {
		w.submit()
	}
}

// Wait waits until there is room for a byte at least, so that the next Room does not.
func (w *Writer) Wait(ctx context.Context) error {
	if err := w.Err(); err != nil || w.buf != nil {
		return err
	}
	if w.bufs < writeBuffers {
		w.take(w.file.disk.Buffers().Get(w.size))
		w.bufs++
		return nil
	}
	b, err := w.back(ctx)
	if err != nil {
		return err
	}
	w.take(b)
	return w.Err()
}

func (w *Writer) take(b *Buffer) { w.buf, w.fill = b, b.Bytes()[:w.size] }

// back waits for a buffer from the background.
func (w *Writer) back(ctx context.Context) (*Buffer, error) {
	select {
	case b := <-w.free:
		w.out--
		return b, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for %s to be written: %w", w.file.Name(), ctx.Err())
	}
}

// submit hands what is filled to the background. It never waits, as there is one place for each buffer.
func (w *Writer) submit() {
	if w.full == nil {
		w.full, w.free = make(chan stretch, writeBuffers), make(chan *Buffer, writeBuffers)
		w.bg.Go(w.background)
	}
	w.out++
	w.full <- stretch{w.buf, w.n, w.off}
	w.off += int64(w.n)
	w.buf, w.fill, w.n = nil, nil, 0
}

// background writes one stretch after another, until there can be no more.
func (w *Writer) background() {
	for s := range w.full {
		if w.first.Load() == nil && !w.drop.Load() {
			w.write(s)
		}
		w.free <- s.buf
	}
}

func (w *Writer) write(s stretch) {
	if w.see != nil {
		seen := make(chan struct{})
		w.bg.Go(func() {
			defer close(seen)
			w.see(s.off, s.buf.Bytes()[:s.n])
		})
		defer func() { <-seen }()
	}
	if err := w.file.WriteAt(s.buf, 0, s.n, s.off); err != nil {
		err = fmt.Errorf("%d bytes at offset %d: %w", s.n, s.off, err)
		w.first.Store(&err)
		return
	}
	w.written.Store(s.off + int64(s.n))
}

// Finish pads with zeros to a multiple of pad (itself one of the file's Align), writes what is left, waits,
// and gives the offset after the last byte written. It does not sync. The Writer cannot be used afterwards.
func (w *Writer) Finish(pad int) (int64, error) { return w.FinishContext(context.Background(), pad) }

// FinishContext is Finish with an end to its waits. If the context ends one, either FinishContext or Abort
// has to be called again: the kernel may be reading a buffer still.
func (w *Writer) FinishContext(ctx context.Context, pad int) (int64, error) {
	err := w.finish(ctx, pad)
	if err != nil && ctx.Err() != nil && w.Err() == nil {
		return w.off, err
	}
	w.Abort()
	return w.off, err
}

func (w *Writer) finish(ctx context.Context, pad int) error {
	if err := w.Err(); err != nil {
		return err
	}
	if pad <= 0 || pad%w.file.Align() != 0 {
		return fmt.Errorf("%s: padding to %d: it has to be a multiple of %d", w.file.Name(), pad, w.file.Align())
	}
	for rest := (int64(pad) - w.Offset()%int64(pad)) % int64(pad); rest > 0; {
		if err := w.Wait(ctx); err != nil {
			return err
		}
		n := min(int64(w.size-w.n), rest)
		clear(w.fill[w.n : w.n+int(n)])
		w.Advance(int(n))
		rest -= n
	}
	if w.n > 0 {
		w.submit()
	}
	if err := w.drain(ctx); err != nil {
		return err
	}
	return w.Err()
}

// drain waits until nothing is in flight, and gives those buffers back to the pool.
func (w *Writer) drain(ctx context.Context) error {
	for w.out > 0 {
		b, err := w.back(ctx)
		if err != nil {
			return err
		}
		b.Release()
		w.bufs--
	}
	return nil
}

// Abort waits for what is in flight and drops the rest. It may follow Finish, and be called twice.
func (w *Writer) Abort() {
	w.drop.Store(true)
	_ = w.drain(context.Background()) // fails only with its context
	if w.full != nil {
		close(w.full)
		w.bg.Wait()
		w.full = nil
	}
	if w.buf != nil {
		w.buf.Release()
		w.buf, w.fill, w.n = nil, nil, 0
	}
	if w.err == nil {
		w.err = ErrEnded
	}
}
