package datadir

import (
	"encoding/binary"
	"fmt"

	"github.com/stratapg/strata/page"
)

// RecordSpan is where a WAL record lies. End is rounded up to 8; for a switch of the WAL segment it is the
// end of the segment.
type RecordSpan struct{ Start, End page.LSN }

// RecordIndex is the index of the WAL records of one batch, kept under page.RecordsKey(end of the first)
// so that a state at any LSN knows its last whole record:
//
//	 0        1                       9
//	+--------+-----------------------+---------------------------------------------+
//	| 1 (u8) | start of first, u64 BE | per record: uvarint a [uvarint b]          |
//	+--------+-----------------------+---------------------------------------------+
//	a = (end - start)/8 << 1 | moved;  moved: b = (start - end of the record before)/8
//
// moved is 0 where a record starts at the end of the one before. (The page header that may follow an end
// belongs to the next record's start.) Integers of the uvarint form are those of encoding/binary.
//
// Where transactions end, the records' times are in it too, and the version is 2:
//
//	 0        1                       9
//	+--------+-----------------------+-------------------+-------------------------------+------------+
//	| 2 (u8) | start of first, u64 BE | uvarint length    | per end: uvarint c, varint d  | as above   |
//	+--------+-----------------------+-------------------+-------------------------------+------------+
//	c = records since the last end << 1 | aborted;  d = microseconds since the last end's time
//
// The first end is counted from the first record, and from PostgreSQL's epoch, 2000-01-01.
type RecordIndex struct {
	buf []byte
	end page.LSN
	n   int

	ends     []byte
	lastEnd  int // its record
	lastTime int64
	whole    []byte
}

const (
	recordIndexVersion  = 1
	recordIndexWithEnds = 2
	recordIndexHeader   = 1 + 8
	recordUnit          = 8 // LSNs of records are multiples of this
)

// Reset empties the index and keeps its memory.
func (x *RecordIndex) Reset() {
	x.buf, x.end, x.n = x.buf[:0], 0, 0
	x.ends, x.lastEnd, x.lastTime = x.ends[:0], 0, 0
}

// Len is the number of records.
func (x *RecordIndex) Len() int { return x.n }

// Bytes is the encoded form; it is valid until the next change.
func (x *RecordIndex) Bytes() []byte {
	if len(x.ends) == 0 {
		return x.buf
	}
	x.whole = append(append(x.whole[:0], recordIndexWithEnds), x.buf[1:recordIndexHeader]...)
	x.whole = binary.AppendUvarint(x.whole, uint64(len(x.ends)))
	x.whole = append(append(x.whole, x.ends...), x.buf[recordIndexHeader:]...)
	return x.whole
}

// AddEnd says that the record added last ends a transaction, at a time in microseconds since 2000-01-01.
func (x *RecordIndex) AddEnd(micros int64, aborted bool) {
	c := uint64(x.n-1-x.lastEnd) << 1
	if aborted {
		c |= 1
	}
	x.ends = binary.AppendVarint(binary.AppendUvarint(x.ends, c), micros-x.lastTime)
	x.lastEnd, x.lastTime = x.n-1, micros
}

// Add appends a record, which must lie behind all others.
func (x *RecordIndex) Add(r RecordSpan) {
	if x.n == 0 {
		x.buf = append(x.buf[:0], recordIndexVersion)
		x.buf = binary.BigEndian.AppendUint64(x.buf, uint64(r.Start))
		x.end = r.Start
	}
	a := uint64(r.End-r.Start) / recordUnit << 1
	if r.Start == x.end {
		x.buf = binary.AppendUvarint(x.buf, a)
	} else {
		x.buf = binary.AppendUvarint(x.buf, a|1)
		x.buf = binary.AppendUvarint(x.buf, uint64(r.Start-x.end)/recordUnit)
	}
	x.end = r.End
	x.n++
}

// EachRecord calls fn for the records of an encoded index, in order, until fn returns false.
func EachRecord(b []byte, fn func(RecordSpan) bool) error {
	_, records, err := splitIndex(b)
	if err != nil {
		return err
	}
	end, size := page.LSN(binary.BigEndian.Uint64(b[1:])), len(b)
	b = records
	next := func() (uint64, bool) {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > uint64(page.MaxLSN)/recordUnit/2 {
			return 0, false
		}
		b = b[n:]
		return v, true
	}
	for len(b) > 0 {
		a, ok := next()
		var gap uint64
		if ok && a&1 != 0 {
			gap, ok = next()
		}
		start := end + page.LSN(gap*recordUnit)
		stop := start + page.LSN(a>>1*recordUnit)
		if !ok || stop <= start || start < end {
			return fmt.Errorf("%w: record index breaks off at byte %d of %d", ErrCorrupt, size-len(b), size)
		}
		end = stop
		if !fn(RecordSpan{start, stop}) {
			return nil
		}
	}
	return nil
}
