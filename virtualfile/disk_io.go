package virtualfile

import (
	"context"
	"errors"
)

// Read is one read of a batch. Off, At and Len are multiples of the file's Align.
type Read struct {
	File *Handle
	Off  int64   // in the file
	Buf  *Buffer // where to
	At   int     // from here on
	Len  int     // so many bytes

	N   int   // result: bytes read; less than Len only at the file's end
	Err error // result
}

// ReadMulti does all reads at once and waits for them; each has its own N and Err. The error is that of the
// context, or ErrClosed: then nothing may be said of the reads, and their buffers may be released but not
// be looked at, as the kernel may still write to them.
//
// It waits until the reads' bytes fit beside those in flight. A batch of more than MaxInFlight, or of more
// files than descriptors are to be had at the time, is read in several goes, each of which is bounded.
func (d *Disk) ReadMulti(ctx context.Context, reads []Read) error {
	if len(reads) == 0 {
		return ctx.Err()
	}
	return d.transfer(ctx, reads, false)
}

// transfer does reads or writes in as few goes as the limits allow.
func (d *Disk) transfer(ctx context.Context, reads []Read, write bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !d.gate.enter() {
		return ErrClosed
	}
	defer d.gate.leave()
	if bg := backgroundOf(ctx); bg != nil && !write {
		return d.readSlowly(ctx, bg, reads)
	}
	for len(reads) > 0 {
		n, err := d.goOnce(ctx, reads, write)
		if err != nil {
			return err
		}
		reads = reads[n:]
	}
	return nil
}

// goOnce does as many of the reads as fit, and gives their number: at least one.
func (d *Disk) goOnce(ctx context.Context, reads []Read, write bool) (int, error) {
	n, bytes := d.fit(reads)
	if err := d.inFlight.Acquire(ctx, bytes); err != nil {
		return 0, err
	}
	b := batches.Get().(*batch)
	b.disk, b.bytes = d, bytes
	n, err := b.fill(ctx, reads[:n], write)
	if err != nil {
		d.inFlight.Release(bytes)
		b.recycle()
		return 0, err
	}
	d.counters.begin(b, write)
	if len(b.xs) == 0 {
		d.inFlight.Release(bytes)
		b.recycle()
		return n, nil
	}
	d.gate.state.Add(1) // until the last transfer ends, which may be after the caller left
	b.left.Store(int32(len(b.xs)))
	if err := d.engines.get().run(ctx, b); err != nil {
		d.counters.abandoned.Add(1)
		return 0, err
	}
	for i := range b.xs {
		x := &b.xs[i]
		r := &reads[x.read]
		r.N, r.Err = x.n, x.err
	}
	b.recycle()
	return n, nil
}

// fit gives how many reads go at once, and their bytes.
func (d *Disk) fit(reads []Read) (n int, bytes int64) {
	limit := d.inFlight.Limit()
	for n < len(reads) {
		next := int64(max(reads[n].Len, 0))
		if n > 0 && bytes+next > limit {
			break
		}
		bytes += next
		n++
	}
	return n, bytes
}

// fill makes transfers of the reads, up to the first for whose file there is no descriptor without waiting.
// Only the first waits for one: nobody may hold a descriptor and wait for another. What is wrong with one
// read is that read's error. It fails, without transfers, only with the context or when the Disk is closed.
func (b *batch) fill(ctx context.Context, reads []Read, write bool) (int, error) {
	op := opName(write)
	for i := range reads {
		r := &reads[i]
		r.N = 0
		if r.Err = b.disk.checkTransfer(op, r); r.Err != nil {
			continue
		}
		pinCtx := ctx
		if len(b.xs) > 0 {
			pinCtx = nil
		}
		switch err := b.disk.cache.pin(pinCtx, r.File); {
		case errors.Is(err, errBusy):
			return i, nil
		case err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) && len(b.xs) == 0:
			return 0, err
		case err != nil:
			r.Err = pathError(op, r.File.Name(), err)
			continue
		}
		if r.Err = b.add(op, i, r, write); r.Err != nil {
			r.File.unpin()
		}
	}
	return len(reads), nil
}

// add makes a transfer of a read whose file is pinned.
func (b *batch) add(op string, i int, r *Read, write bool) error {
	h := r.File
	if b.disk.o.Validate || h.fd < 0 {
		if err := checkAligned(op, h, r.Buf.b[r.At:r.At+r.Len], r.Off); err != nil {
			return err
		}
	}
	if write && !h.Direct() {
		h.touch()
	}
	r.Buf.Retain()
	b.xs = append(b.xs, transfer{batch: b, pin: h, file: h.file, fd: h.fd, write: write, align: h.align,
		off: r.Off, buf: r.Buf, at: r.At, len: r.Len, read: i})
	return nil
}
