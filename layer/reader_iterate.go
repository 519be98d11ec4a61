package layer

import (
	"context"
	"slices"

	"github.com/stratapg/strata/page"
)

// readAhead is how much of the values a walk through a layer reads in one go.
const readAhead = 512 << 10

// Iterate gives all entries in (key, LSN) order: of a delta the serialized page.Values, of an image layer
// the bare images. value is valid during the call only. Every index entry and value is decoded, so a walk
// without error is a check of the file. An error of fn ends the walk and is returned.
func (r *Reader) Iterate(ctx context.Context, fn func(k page.Key, lsn page.LSN, willInit bool, value []byte) error) error {
	var room []byte
	alloc := func(n int) []byte {
		room = slices.Grow(room[:0], n)[:n]
		return room
	}
	return r.walk(ctx, func(e *entry, s Stored) error {
		v, err := r.plain(e, s, alloc)
		if err != nil {
			return err
		}
		return fn(e.key, e.lsn, e.willInit, v)
	})
}

// IterateStored gives all entries in (key, LSN) order with their blobs as they lie in the file, for copying
// without decompression. The blob is valid during the call only.
func (r *Reader) IterateStored(ctx context.Context, fn func(k page.Key, lsn page.LSN, willInit bool, s Stored) error) error {
	return r.walk(ctx, func(e *entry, s Stored) error { return fn(e.key, e.lsn, e.willInit, s) })
}

func (r *Reader) walk(ctx context.Context, fn func(e *entry, s Stored) error) error {
	var scan entryScanner
	scan.init(r, scanBlocks{r})
	if err := scan.seek(ctx, page.MinKey, 0); err != nil {
		return err
	}
	win := window{r: r}
	for {
		e, ok, err := scan.next(ctx)
		if err != nil || !ok {
			return err
		}
		if !r.desc.Keys.Contains(e.key) || !r.desc.LSNs.Contains(e.lsn) {
			return corruptf(r.file.Name(), r.blockOffset(scan.cur.path[0].blk), "entry %s at LSN %s is outside the layer", e.key, e.lsn)
		}
		b, err := win.bytes(e.start, e.end)
		if err != nil {
			return err
		}
		s, err := r.blobOf(&e, b)
		if err == nil {
			err = fn(&e, s)
		}
		if err != nil {
			return err
		}
	}
}

// window holds a stretch of the values and moves forward.
type window struct {
	r    *Reader
	buf  []byte
	base int64
}

// bytes gives [start, end) of the file, valid until the next call.
func (w *window) bytes(start, end int64) ([]byte, error) {
	if start < w.base || end > w.base+int64(len(w.buf)) {
		n := max(end-start, min(readAhead, w.r.dataEnd()-start))
		w.buf, w.base = slices.Grow(w.buf[:0], int(n))[:n], start
		if err := w.r.readAt(w.buf, start); err != nil {
			w.buf = w.buf[:0]
			return nil, err
		}
	}
	return w.buf[start-w.base : end-w.base], nil
}

// scanBlocks reads index blocks past the Reader's cache, which a walk would only sweep out. Blocks are
// fresh ones, as a cursor holds one of each level.
type scanBlocks struct{ r *Reader }

func (s scanBlocks) block(ctx context.Context, n uint32) ([]byte, error) {
	b := make([]byte, blockSize)
	return b, s.r.readBlock(ctx, n, b)
}

func (s scanBlocks) corrupt(n uint32, format string, args ...any) error {
	return s.r.corrupt(n, format, args...)
}
