package wal

import (
	"encoding/binary"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// DecoderOptions say what WAL is expected.
type DecoderOptions struct {
	// Version of the server that wrote it. Required.
	Version pg.Version
	// Start is where the first byte fed stands: the end of a record. Required, a multiple of 8.
	Start page.LSN
	// Prev is the start of the record before Start, with which the first record must agree. 0: not known.
	Prev page.LSN
	// SegSize is wal_segment_size in bytes. Required.
	SegSize uint32
	// SystemID is the cluster's system identifier. 0: any, but the same in all segments.
	SystemID uint64
	// Timeline is the lowest timeline that the first page may have. 0: any. Later pages never go backwards.
	Timeline uint32
	// History lists the timelines that pages may have. Nil: any.
	History *History
}

// validate finds what no WAL can have.
func (o *DecoderOptions) validate() error {
	if !o.Version.Supported() {
		return fmt.Errorf("%w: %d", pg.ErrUnsupportedVersion, int(o.Version))
	}
	if !ValidSegSize(o.SegSize) {
		return fmt.Errorf("WAL segment size %d: want a power of two from %d to %d", o.SegSize, MinSegSize, MaxSegSize)
	}
	if !o.Start.Aligned() {
		return fmt.Errorf("start of WAL %v: records end at multiples of 8", o.Start)
	}
	if off := o.Start % PageSize; off != 0 && uint32(off) < headerSize(o.Start-off, o.SegSize) {
		return fmt.Errorf("start of WAL %v lies in a page header", o.Start)
	}
	return nil
}

// keepBytes is how large a buffer for a record in pieces may be to be kept for the next one.
const keepBytes = 1 << 20

// Decoder turns bytes into records. It keeps no reference to what was fed once Next has asked for more, and
// copies only records that a page or feed boundary cuts.
type Decoder struct {
	f       *format
	segSize uint32
	rules   pageRules

	in   []byte   // fed, not yet consumed
	pos  page.LSN // of in[0]
	skip page.LSN // what lies before it is padding or the unused rest of a segment

	head []byte // page header that arrived in pieces, as far as it came

	// The record in pieces, if gathering.
	gathering bool
	start     page.LSN
	total     uint32 // xl_tot_len, 0 until its bytes are here
	checked   bool   // its header was
	rec       []byte // grows with what arrived, not with what the header promises

	first       page.LSN // DecoderOptions.Start
	lsn         page.LSN // end of the last whole record
	prev        page.LSN // its start, 0 if not known
	overwritten page.LSN // start of the last record that was given up, 0 if none
	err         error
}

// NewDecoder starts a decoder; options that cannot be are an error.
func NewDecoder(o DecoderOptions) (*Decoder, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	f, err := formatOf(o.Version)
	if err != nil {
		return nil, err
	}
	return &Decoder{
		f: f, segSize: o.SegSize, pos: o.Start, first: o.Start, lsn: o.Start, prev: o.Prev,
		rules: pageRules{f: f, segSize: o.SegSize, systemID: o.SystemID, timeline: o.Timeline, history: o.History},
		head:  make([]byte, 0, LongHeader),
	}, nil
}

// LSN is the end of the last whole record, at first DecoderOptions.Start.
func (d *Decoder) LSN() page.LSN { return d.lsn }

// Pending is the start of a record of which only a part has come, 0 if there is none.
func (d *Decoder) Pending() page.LSN {
	if d.gathering {
		return d.start
	}
	return 0
}

// Position is where the next byte to be fed belongs.
func (d *Decoder) Position() page.LSN { return d.pos + page.LSN(len(d.head)+len(d.in)) }

// Feed gives the bytes that follow those fed before. b must stay as it is until Next has returned false.
func (d *Decoder) Feed(b []byte) {
	if len(d.in) == 0 {
		d.in = b
		return
	}
	joined := make([]byte, 0, len(d.in)+len(b))
	d.in = append(append(joined, d.in...), b...)
}

// Next reads the next record into r, valid until the next call; ok is false if more bytes are needed. An
// error is an *Error and lasts: what follows it cannot be told from garbage.
func (d *Decoder) Next(r *Record) (ok bool, err error) {
	if d.err != nil {
		return false, d.err
	}
	ok, e := d.next(r)
	if e != nil {
		d.err = e
		return false, e
	}
	return ok, nil
}

func (d *Decoder) next(r *Record) (bool, *Error) {
	for {
		if d.pos < d.skip {
			d.advance(min(int64(d.skip-d.pos), int64(len(d.in))))
		}
		if len(d.in) == 0 {
			return false, nil
		}
		if d.pos%PageSize == 0 {
			if ok, err := d.pageHeader(); !ok {
				return false, err
			}
			continue
		}
		room := min(PageSize-int(d.pos%PageSize), len(d.in))
		if !d.gathering {
			if raw := wholeRecord(d.in[:room]); raw != nil {
				return d.direct(r, raw)
			}
			d.begin()
		}
		if done, err := d.gather(room); err != nil {
			return false, err
		} else if done {
			d.gathering = false
			return d.finish(r, d.rec, d.start)
		}
	}
}

// wholeRecord gives the record at the start of b if all of it is there.
func wholeRecord(b []byte) []byte {
	if len(b) < recordHeader {
		return nil
	}
	n := binary.LittleEndian.Uint32(b)
	if n < recordHeader || uint64(n) > uint64(len(b)) {
		return nil
	}
	return b[:n:n]
}

// direct takes a record that lies in one piece where it was fed.
func (d *Decoder) direct(r *Record, raw []byte) (bool, *Error) {
	start := d.pos
	if err := d.checkHeader(raw, start); err != nil {
		return false, err
	}
	d.advance(int64(len(raw)))
	return d.finish(r, raw, start)
}

// begin starts to gather a record.
func (d *Decoder) begin() {
	if cap(d.rec) > keepBytes {
		d.rec = nil
	}
	d.gathering, d.start, d.total, d.checked, d.rec = true, d.pos, 0, false, d.rec[:0]
}

// gather moves what belongs to the record and lies in the next room bytes to rec.
func (d *Decoder) gather(room int) (done bool, err *Error) {
	want := 4 // xl_tot_len, which a page boundary never cuts
	if d.total != 0 {
		want = int(d.total)
	}
	n := min(want-len(d.rec), room)
	d.rec = append(d.rec, d.in[:n]...)
	d.advance(int64(n))
	if d.total == 0 && len(d.rec) >= 4 {
		d.total = binary.LittleEndian.Uint32(d.rec)
		if err := d.checkLength(d.total, d.start); err != nil {
			return false, err
		}
		return false, nil
	}
	if !d.checked && len(d.rec) >= recordHeader {
		if err := d.checkHeader(d.rec, d.start); err != nil {
			return false, err
		}
		d.checked = true
	}
	return d.total != 0 && len(d.rec) == int(d.total), nil
}

func (d *Decoder) advance(n int64) {
	d.in = d.in[n:]
	d.pos += page.LSN(n)
}

// pageHeader consumes the header of the page that starts at pos. It reports false if part of it is missing.
func (d *Decoder) pageHeader() (bool, *Error) {
	size := int(headerSize(d.pos, d.segSize))
	b := d.in
	if len(d.head) > 0 || len(b) < size {
		n := min(size-len(d.head), len(b))
		d.head = append(d.head, b[:n]...)
		d.in = d.in[n:]
		if len(d.head) < size {
			return false, nil
		}
		b = d.head
	} else {
		d.in = d.in[size:]
	}
	at := d.pos
	h, err := d.rules.check(b[:size], at)
	if err == nil {
		err = d.checkContinuation(&h, at)
	}
	if err != nil {
		err.Record = d.Pending()
		return false, err
	}
	d.head = d.head[:0]
	d.pos += page.LSN(size)
	return true, nil
}

// checkContinuation checks that the page goes on with the record in hand, if there is one, or gives it up
// where the server did: it crashed before it wrote the rest, and marked the page that it wrote instead.
func (d *Decoder) checkContinuation(h *pageHeader, at page.LSN) *Error {
	if d.gathering && h.flags&pageOverwrite != 0 {
		d.overwritten, d.gathering = d.start, false
	}
	cont := h.flags&pageContRecord != 0
	fail := func(format string, args ...any) *Error {
		return &Error{Cause: CauseContinue, At: at, Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case !d.gathering && cont:
		return fail("the page starts with the rest of a record that does not begin where WAL was read from")
	case !d.gathering:
		return nil
	case !cont:
		return fail("the page does not go on with the record before it")
	case uint64(h.rest) != uint64(d.total)-uint64(len(d.rec)):
		return fail("the page goes on with %d bytes of a record of which %d are missing", h.rest, uint64(d.total)-uint64(len(d.rec)))
	}
	return nil
}
