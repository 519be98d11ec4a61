package layer

import (
	"context"
	"encoding/binary"

	"github.com/stratapg/strata/page"
)

// maxPlace is the longest that a value and its header can be.
const maxPlace = maxBlob + longBlobHeader

// entry is one value's place in the file.
type entry struct {
	key      page.Key
	lsn      page.LSN
	willInit bool
	start    int64 // of the blob's header
	end      int64 // where the next blob starts, or the index
	last     bool  // end includes padding
}

// entryScanner walks the index and tells where each blob ends, which only the next entry says.
type entryScanner struct {
	r   *Reader
	cur treeCursor
	// ahead is the entry after the one last given, hasNext says that there is one.
	ahead   entry
	hasNext bool
}

func (s *entryScanner) init(r *Reader, src blockReader) {
	s.r = r
	s.cur.init(src, r.sum.indexRoot, r.keyLen)
}

// release lets go of all blocks.
func (s *entryScanner) release() {
	s.cur.release()
	s.r, s.hasNext = nil, false
}

// place goes to between what is below (k, lsn) and what is not.
func (s *entryScanner) place(ctx context.Context, k page.Key, lsn page.LSN) error {
	var key [maxKeyLen]byte
	k.Put(key[:])
	binary.BigEndian.PutUint64(key[page.KeySize:], uint64(lsn))
	return s.cur.seek(ctx, key[:s.r.keyLen])
}

// seek goes to the first entry at or above (k, lsn), for next.
func (s *entryScanner) seek(ctx context.Context, k page.Key, lsn page.LSN) error {
	err := s.place(ctx, k, lsn)
	if err == nil {
		s.ahead, s.hasNext, err = s.fetch(ctx)
	}
	return err
}

// fetch reads the next index entry.
func (s *entryScanner) fetch(ctx context.Context) (entry, bool, error) {
	key, v, ok, err := s.cur.next(ctx)
	if err != nil || !ok {
		return entry{}, false, err
	}
	e, err := s.entry(key, v)
	return e, true, err
}

// entry decodes an index entry; its end is not known.
func (s *entryScanner) entry(key []byte, v uint64) (entry, error) {
	e := entry{key: page.KeyFromBytes(key), lsn: s.r.desc.LSNs.Start, willInit: true, start: int64(v)}
	if !s.r.desc.Image {
		e.lsn = page.LSN(binary.BigEndian.Uint64(key[page.KeySize:]))
		e.willInit, e.start = v&1 == 1, int64(v>>1)
	}
	if e.start < dataStart || e.start >= s.r.dataEnd() {
		return e, s.r.corrupt(s.cur.path[0].blk, "%s at LSN %s: value at offset %d, values lie in [%d, %d)",
			e.key, e.lsn, e.start, int64(dataStart), s.r.dataEnd())
	}
	return e, nil
}

// inside refuses an entry that its layer's ranges do not have.
func (s *entryScanner) inside(e *entry) error {
	if s.r.desc.Keys.Contains(e.key) && s.r.desc.LSNs.Contains(e.lsn) {
		return nil
	}
	return corruptf(s.r.file.Name(), s.r.blockOffset(s.cur.path[0].blk), "entry %s at LSN %s is outside the layer", e.key, e.lsn)
}

// next gives the entry at the cursor.
func (s *entryScanner) next(ctx context.Context) (e entry, ok bool, err error) {
	if !s.hasNext {
		return entry{}, false, nil
	}
	e = s.ahead
	if s.ahead, s.hasNext, err = s.fetch(ctx); err != nil {
		return entry{}, false, err
	}
	end := s.r.dataEnd()
	if s.hasNext {
		end = s.ahead.start
	}
	return e, true, s.endAt(&e, end)
}

// endAt sets where e ends.
func (s *entryScanner) endAt(e *entry, end int64) error {
	e.end, e.last = end, end == s.r.dataEnd()
	if n := end - e.start; n <= 0 || n > maxPlace+blockSize {
		return s.r.corrupt(s.cur.path[0].blk, "%s at LSN %s: value at offset %d, and the next at %d", e.key, e.lsn, e.start, end)
	}
	return nil
}

// seekEnd goes to the last entry below (k, lsn), for prev.
func (s *entryScanner) seekEnd(ctx context.Context, k page.Key, lsn page.LSN) error {
	if err := s.place(ctx, k, lsn); err != nil {
		return err
	}
	s.ahead.start, s.hasNext = s.r.dataEnd(), true
	key, v, ok, err := s.cur.peek(ctx)
	if err == nil && ok {
		s.ahead, err = s.entry(key, v)
	}
	return err
}

// prev gives the entry before the cursor, and goes there.
func (s *entryScanner) prev(ctx context.Context) (e entry, ok bool, err error) {
	key, v, ok, err := s.cur.prev(ctx)
	if err != nil || !ok {
		return entry{}, false, err
	}
	if e, err = s.entry(key, v); err != nil {
		return entry{}, false, err
	}
	err = s.endAt(&e, s.ahead.start)
	s.ahead = e
	return e, true, err
}
