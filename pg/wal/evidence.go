package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// validBehind looks for WAL that was written after the place of e, where reading had to end: a record later
// in the same file, or a later segment. It says what it found, "" if nothing.
//
// A record counts if its CRC fits, its page says that it stands where it stands, and its xl_prev points
// between the place and itself. Leftovers of a recycled segment point to where they stood before, so they do
// not count. What remains are pages that a machine lost out of order in a power failure; where PostgreSQL
// would go on, we ask for a decision (DirOptions.Until) rather than lose WAL silently.
func (r *DirReader) validBehind(ctx context.Context, e *Error) (string, error) {
	from := e.At
	if e.Record != 0 {
		from = e.Record
	}
	lsn, err := r.recordBehind(ctx, from)
	if err != nil {
		return "", err
	}
	if lsn != 0 {
		return fmt.Sprintf("the record at %v in %s", lsn, r.cur.name), nil
	}
	later, err := r.laterSegment(ctx, r.cur.start+page.LSN(r.a.segSize))
	if err != nil || later == "" {
		return "", err
	}
	return "segment " + later, nil
}

// laterSegment names a segment in use from start on whose first page was written for its place, or "".
func (r *DirReader) laterSegment(ctx context.Context, start page.LSN) (string, error) {
	for _, s := range r.a.starts {
		if s < start {
			continue
		}
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if f, _, ok := r.a.pick(r.history, s); ok && r.validSegment(f) {
			return f.name, nil
		}
	}
	return "", nil
}

// validSegment reports whether the file's first page says that it holds what its name says.
func (r *DirReader) validSegment(f segmentFile) bool {
	var head [LongHeader]byte
	if r.a.readHead(f.name, head[:]) != nil {
		return false
	}
	rules := pageRules{f: r.d.f, segSize: r.a.segSize, systemID: r.d.rules.systemID}
	_, err := rules.check(head[:], f.start)
	return err == nil
}

// recordBehind finds a record in the rest of the file that was written after the place from, 0 if none. It
// reads the rest of the file and leaves the position anywhere: nothing is read on after it.
func (r *DirReader) recordBehind(ctx context.Context, from page.LSN) (page.LSN, error) {
	f, err := r.a.fsys.Open(r.cur.name)
	if err != nil {
		return 0, fmt.Errorf("look behind the end of WAL: %w", err)
	}
	defer f.Close()
	first := max(from, r.cur.start) &^ (PageSize - 1)
	if s, ok := f.(io.Seeker); ok {
		_, err = s.Seek(int64(first-r.cur.start), io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, f, int64(first-r.cur.start))
	}
	var buf [PageSize]byte
	for at := first; err == nil && at < r.end; at += PageSize {
		if err = ctx.Err(); err != nil {
			return 0, err
		}
		var n int
		if n, err = io.ReadFull(f, buf[:]); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			if lsn := r.recordIn(buf[:n], at, from); lsn != 0 {
				return lsn, nil
			}
		}
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, nil
	}
	return 0, fmt.Errorf("look behind the end of WAL in %s: %w", r.cur.name, err)
}

// recordIn finds a record that lies wholly in the page at lsn and comes after from.
func (r *DirReader) recordIn(b []byte, lsn, from page.LSN) page.LSN {
	size := int(headerSize(lsn, r.a.segSize))
	if len(b) < size {
		return 0
	}
	rules := pageRules{f: r.d.f, segSize: r.a.segSize, systemID: r.d.rules.systemID}
	if _, err := rules.check(b[:size], lsn); err != nil {
		return 0
	}
	le := binary.LittleEndian
	for off := size; off+recordHeader <= len(b); off += 8 {
		at := lsn + page.LSN(off)
		prev := page.LSN(le.Uint64(b[off+8:]))
		if at <= from || prev < from || prev >= at || !r.d.f.rmgrValid(pg.Rmgr(b[off+17])) {
			continue
		}
		if raw := wholeRecord(b[off:]); raw != nil && CheckCRC(raw) {
			return at
		}
	}
	return 0
}
