// Package walgen writes synthetic WAL for tests and fuzzing: records over pages and segments as a server lays
// them out, and the odd things that servers do: switches, new timelines, records given up after a crash. It
// writes page headers on its own, not with package wal's code, so that the two check each other.
//
// Not for production. A Writer serves one goroutine at a time.
package walgen

import (
	"encoding/binary"
	"time"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
)

const (
	pageSize        = 8192
	shortHeader     = 24
	longHeader      = 40
	flagContinue    = 1
	flagLong        = 2
	flagOverwrite   = 8
	opSwitch        = 0x40
	opOverwrite     = 0xD0
	postgresEpochUs = 946684800 * 1000000 // 2000-01-01 in microseconds since 1970
)

// Options say what WAL to write.
type Options struct {
	Version  pg.Version
	SegSize  uint32 // bytes; 0: 1 MiB
	SystemID uint64
	Timeline uint32 // 0: 1
	// Start is where the first record goes. 0: the start of the second segment. What lies before it on its
	// page counts as the rest of an earlier record.
	Start page.LSN
	// Prev is the start of the record before Start.
	Prev page.LSN
}

// Writer appends records to WAL in memory.
type Writer struct {
	o    Options
	base page.LSN // of buf[0], a segment's start
	buf  []byte
	prev page.LSN
}

// New starts WAL.
func New(o Options) *Writer {
	if o.SegSize == 0 {
		o.SegSize = wal.MinSegSize
	}
	if o.Timeline == 0 {
		o.Timeline = 1
	}
	if o.Start == 0 {
		o.Start = page.LSN(o.SegSize)
	}
	w := &Writer{o: o, prev: o.Prev, base: o.Start &^ page.LSN(o.SegSize-1)}
	first := o.Start &^ (pageSize - 1)
	if o.Start == w.base {
		return w
	}
	if first == w.base {
		w.header(first, 0, uint32(o.Start-first-longHeader))
	} else {
		w.header(w.base, 0, 0)
		w.grow(first)
		if first != o.Start {
			w.header(first, 0, uint32(o.Start-first-shortHeader))
		}
	}
	w.grow(o.Start)
	return w
}

// LSN is where the next record's bytes go; at a page's start behind its header.
func (w *Writer) LSN() page.LSN { return w.base + page.LSN(len(w.buf)) }

// Prev is the start of the last record.
func (w *Writer) Prev() page.LSN { return w.prev }

// SetTimeline makes the pages from the next on those of another timeline.
func (w *Writer) SetTimeline(tli uint32) { w.o.Timeline = tli }

func (w *Writer) grow(to page.LSN) {
	w.buf = append(w.buf, make([]byte, int(to-w.LSN()))...)
}

// header writes or overwrites the header of the page at lsn, which must lie within or at the end of buf.
func (w *Writer) header(lsn page.LSN, flags uint16, rest uint32) {
	size := shortHeader
	if lsn%page.LSN(w.o.SegSize) == 0 {
		size, flags = longHeader, flags|flagLong
	}
	if rest > 0 {
		flags |= flagContinue
	}
	if end := lsn + page.LSN(size); w.LSN() < end {
		w.grow(end)
	}
	b, le := w.buf[lsn-w.base:], binary.LittleEndian
	le.PutUint16(b, w.o.Version.WALMagic())
	le.PutUint16(b[2:], flags)
	le.PutUint32(b[4:], w.o.Timeline)
	le.PutUint64(b[8:], uint64(lsn))
	le.PutUint32(b[16:], rest)
	if size == longHeader {
		le.PutUint64(b[24:], w.o.SystemID)
		le.PutUint32(b[32:], w.o.SegSize)
		le.PutUint32(b[36:], pageSize)
	}
}

// Append writes a record; its xl_prev is set to the record before.
func (w *Writer) Append(h wal.RecordHeader, body []byte) (start, end page.LSN) {
	h.Prev = w.prev
	return w.Raw(wal.NewRecord(h, body))
}

// Raw writes the bytes of a record as they are.
func (w *Writer) Raw(rec []byte) (start, end page.LSN) {
	if w.LSN()%pageSize == 0 {
		w.header(w.LSN(), 0, 0)
	}
	start = w.LSN()
	w.put(rec)
	w.grow(w.LSN().Align())
	w.prev = start
	return start, w.LSN()
}

// put writes b over pages.
func (w *Writer) put(b []byte) {
	for {
		n := min(len(b), pageSize-int(w.LSN()%pageSize))
		w.buf = append(w.buf, b[:n]...)
		if b = b[n:]; len(b) == 0 {
			return
		}
		w.header(w.LSN(), 0, uint32(len(b)))
	}
}

// Message writes a logical message, the plainest record: prefix "walgen" and content.
func (w *Writer) Message(content []byte) (start, end page.LSN) {
	return w.Append(wal.RecordHeader{Rmgr: pg.RmLogicalMsg}, Body(messageData(content)))
}

// messageData is xl_logical_message: database, transactional flag, sizes, prefix, content.
func messageData(content []byte) []byte {
	const prefix = "walgen\x00"
	le := binary.LittleEndian
	b := make([]byte, 24, 24+len(prefix)+len(content))
	le.PutUint64(b[8:], uint64(len(prefix)))
	le.PutUint64(b[16:], uint64(len(content)))
	return append(append(b, prefix...), content...)
}

// Switch writes XLOG_SWITCH and zeros up to the segment's end.
func (w *Writer) Switch() (start, end page.LSN) {
	start, end = w.Append(wal.RecordHeader{Rmgr: pg.RmXLOG, Info: opSwitch}, nil)
	seg := page.LSN(w.o.SegSize)
	end = (end + seg - 1) &^ (seg - 1)
	w.grow(end)
	return start, end
}

// Abort writes the part of a record that fits on the page, as a server that crashed before it wrote the rest,
// and goes on at the next page as that server's recovery does: flag and OVERWRITE_CONTRECORD. rec must not
// fit on the page.
func (w *Writer) Abort(rec []byte, at time.Time) (aborted, start, end page.LSN) {
	if w.LSN()%pageSize == 0 {
		w.header(w.LSN(), 0, 0)
	}
	aborted = w.LSN()
	n := pageSize - int(aborted%pageSize)
	w.buf = append(w.buf, rec[:n]...)
	w.header(w.LSN(), flagOverwrite, 0)
	main := make([]byte, 16)
	binary.LittleEndian.PutUint64(main, uint64(aborted))
	binary.LittleEndian.PutUint64(main[8:], uint64(at.UnixMicro()-postgresEpochUs))
	start, end = w.Append(wal.RecordHeader{Rmgr: pg.RmXLOG, Info: opOverwrite}, Body(main))
	return aborted, start, end
}

// FillPage writes records until exactly left bytes remain on the page, left a multiple of 8 below a page
// less its header.
func (w *Writer) FillPage(left int) {
	const smallest = 24 + 2 // a record with one byte of main data needs 27, padded to 32
	for {
		at := w.LSN()
		if at%pageSize == 0 {
			if left == 0 {
				return
			}
			w.header(at, 0, 0)
			at = w.LSN()
		}
		room := pageSize - int(at%pageSize) - left
		switch {
		case room == 0:
			return
		case room < 32:
			w.Message(make([]byte, pageSize-8)) // over to the next page
			continue
		}
		size := min(room, 24+2+200)
		if rest := room - size; rest > 0 && rest < 32 {
			size -= 32
		}
		size &^= 7
		w.Append(wal.RecordHeader{Rmgr: pg.RmXLOG, Info: 0x20}, Body(make([]byte, size-smallest)))
	}
}

// Bytes gives what was written, from a segment's start to the end of the last record, and that start.
func (w *Writer) Bytes() (page.LSN, []byte) { return w.base, w.buf }

// Segments gives what was written as files by name, the last one filled up with zeros. Names carry the
// timeline of the segment's first page; see Rename in tests of timelines.
func (w *Writer) Segments() map[string][]byte {
	files := map[string][]byte{}
	for off := 0; off < len(w.buf); off += int(w.o.SegSize) {
		b := make([]byte, w.o.SegSize)
		copy(b, w.buf[off:])
		tli := binary.LittleEndian.Uint32(b[4:])
		files[wal.SegmentName(tli, w.base+page.LSN(off), w.o.SegSize)] = b
	}
	return files
}
