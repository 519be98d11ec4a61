package virtualfile

// WriterOptions have useful zeros.
type WriterOptions struct {
	// Start is the offset of the first byte, a multiple of the file's Align.
	Start int64
	// Buffer is the size of either of the two buffers; the default is the measured best.
	Buffer int
	// See, if set, is shown every stretch of the file, in order and without gaps, before it is written: whole
	// buffers, and at the end what is left, padding included. It runs on the background's goroutine.
	See func(off int64, b []byte)
}

// defaultWriteBuffer is the size of a Writer's buffer.
const defaultWriteBuffer = 512 << 10

// Writer appends to a file through two aligned buffers: one is filled while the other is written in the
// background. An error shows at the next call and at Finish; nothing is written after it. Not for
// concurrent use.
type Writer struct {
	file *Handle
	o    WriterOptions
	buf  *Buffer
	n    int
	off  int64 // of buf in the file
	err  error
}

// NewWriter begins to append to f at Start.
func NewWriter(f *Handle, o WriterOptions) *Writer {
	if o.Buffer == 0 {
		o.Buffer = defaultWriteBuffer
	}
	return &Writer{file: f, o: o, off: o.Start, buf: f.disk.bufs.Get(o.Buffer)}
}

// Offset is where the next byte goes.
func (w *Writer) Offset() int64 { return w.off + int64(w.n) }

// Write appends p, and waits while both buffers are full.
func (w *Writer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && w.err == nil; {
		k := copy(w.buf.b[w.n:w.o.Buffer], rest)
		w.n += k
		rest = rest[k:]
		if w.n == w.o.Buffer {
			w.flush(w.n)
		}
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

func (w *Writer) flush(n int) {
	if w.err != nil || n == 0 {
		return
	}
	if w.o.See != nil {
		w.o.See(w.off, w.buf.b[:n])
	}
	w.err = w.file.WriteAt(w.buf, 0, n, w.off)
	w.off += int64(n)
	w.n = 0
}

// Finish pads with zeros to a multiple of pad (itself one of the file's Align), writes what is left, waits,
// and gives the offset after the last byte written. It does not sync. The Writer cannot be used afterwards.
func (w *Writer) Finish(pad int) (int64, error) {
	if r := w.n % pad; r != 0 {
		clear(w.buf.b[w.n : w.n+pad-r])
		w.n += pad - r
	}
	w.flush(w.n)
	w.Abort()
	return w.off, w.err
}

// Abort waits for what is in flight and drops the rest. It may follow Finish.
func (w *Writer) Abort() {
	if w.buf != nil {
		w.buf.Release()
		w.buf = nil
	}
}
