package layer

import (
	"context"
	"slices"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// readAhead is how much of the values, or of the index, a walk through a layer reads in one go.
const readAhead = 512 << 10

// Iterate gives all entries in (key, LSN) order: of a delta the serialized page.Values, of an image layer
// the bare images. value is valid during the call only. Every index entry and value is decoded, so a walk
// without error is a check of what the file holds. An error of fn ends the walk and is returned.
func (r *Reader) Iterate(ctx context.Context, fn func(k page.Key, lsn page.LSN, willInit bool, value []byte) error) error {
	var room []byte
	alloc := func(n int) []byte {
		room = slices.Grow(room[:0], n)[:n]
		return room
	}
	return r.walk(ctx, func(e *entry, s Stored) error {
		v := s.Data
		if s.Zstd {
			var err error
			if v, err = decompress(s.Data, false, alloc); err != nil {
				return corruptf(r.file.Name(), e.start, "%s at LSN %s: %v", e.key, e.lsn, err)
			}
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
	blocks := scanBlocks{index: stretch{r: r, limit: r.end(), ahead: readAhead}}
	values := stretch{r: r, limit: r.dataEnd(), ahead: readAhead}
	defer blocks.index.release()
	defer values.release()
	var scan entryScanner
	scan.init(r, &blocks)
	if err := scan.seek(ctx, page.MinKey, 0); err != nil {
		return err
	}
	var e entry // one for all, as fn may let it escape
	for {
		var ok bool
		var err error
		if e, ok, err = scan.next(ctx); err != nil || !ok {
			return err
		}
		if err := scan.inside(&e); err != nil {
			return err
		}
		b, err := values.bytes(ctx, e.start, e.end)
		if err != nil {
			return err
		}
		s, err := r.blobOf(e.lsn, e.start, b)
		if err == nil {
			err = fn(&e, s)
		}
		if err != nil {
			return err
		}
	}
}

// stretch holds a part of the file, whole blocks of it, and moves forward.
type stretch struct {
	r     *Reader
	limit int64
	ahead int // bytes that are read in one go, whole blocks
	buf   *virtualfile.Buffer
	b     []byte
	base  int64
}

// bytes gives [start, end) of the file, valid until the next call.
func (w *stretch) bytes(ctx context.Context, start, end int64) ([]byte, error) {
	if start < w.base || end > w.base+int64(len(w.b)) {
		base := start &^ (blockSize - 1)
		n := int(min(max((end-base+blockSize-1)&^(blockSize-1), int64(w.ahead)), w.limit-base))
		if w.buf == nil || w.buf.Len() < n {
			w.release()
			w.buf = w.r.file.Disk().Buffers().Get(n)
		}
		b, err := w.r.read(ctx, w.buf, base, n)
		if err != nil {
			w.b = nil
			return nil, err
		}
		w.b, w.base = b, base
	}
	return w.b[start-w.base : end-w.base], nil
}

func (w *stretch) release() {
	if w.buf != nil {
		w.buf.Release()
		w.buf, w.b = nil, nil
	}
}

// scanBlocks reads index blocks past the cache, which a walk would only sweep out. A cursor holds one block
// of each level, so there is one copy for each.
type scanBlocks struct {
	index  stretch
	levels [maxTreeLevels][]byte
}

func (s *scanBlocks) block(ctx context.Context, n uint32) ([]byte, cache.Pin, error) {
	r := s.index.r
	if n > r.sum.indexRoot {
		return nil, cache.Pin{}, s.corrupt(n, "beyond the root, block %d", r.sum.indexRoot)
	}
	b, err := s.index.bytes(ctx, r.blockOffset(n), r.blockOffset(n+1))
	if err != nil {
		return nil, cache.Pin{}, err
	}
	level := &s.levels[b[2]%maxTreeLevels] // a level out of bounds is refused as the node is parsed
	*level = append((*level)[:0], b...)
	return *level, cache.Pin{}, nil
}

func (s *scanBlocks) corrupt(n uint32, format string, args ...any) error {
	return s.index.r.corrupt(n, format, args...)
}
