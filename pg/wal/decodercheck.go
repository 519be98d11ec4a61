package wal

import (
	"encoding/binary"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// checkLength judges xl_tot_len of the record at start.
func (d *Decoder) checkLength(n uint32, start page.LSN) *Error {
	switch {
	case n == 0:
		return &Error{Cause: CauseZeros, At: start, Record: start, Detail: "no record was written here"}
	case n < recordHeader || n > d.f.maxRecord:
		return &Error{Cause: CauseHeader, At: start, Record: start,
			Detail: fmt.Sprintf("record length %d: want %d to %d", n, recordHeader, d.f.maxRecord)}
	}
	return nil
}

// checkHeader judges the header of the record at start, of which raw holds at least the header.
func (d *Decoder) checkHeader(raw []byte, start page.LSN) *Error {
	le := binary.LittleEndian
	if n := le.Uint32(raw); n > d.f.maxRecord {
		return d.checkLength(n, start)
	}
	prev, rmgr := page.LSN(le.Uint64(raw[8:])), pg.Rmgr(raw[17])
	switch {
	case !d.f.rmgrValid(rmgr):
		return &Error{Cause: CauseHeader, At: start, Record: start,
			Detail: fmt.Sprintf("record of resource manager %d, which PostgreSQL %d does not have", rmgr, d.f.version)}
	case d.prev != 0 && prev != d.prev:
		return &Error{Cause: CauseHeader, At: start, Record: start,
			Detail: fmt.Sprintf("the record says that the one before it starts at %v, but that starts at %v", prev, d.prev)}
	case prev >= start:
		return &Error{Cause: CauseHeader, At: start, Record: start,
			Detail: fmt.Sprintf("the record says that the one before it starts at %v", prev)}
	}
	return nil
}

// finish checks the record's CRC, takes it apart and moves on to its end.
func (d *Decoder) finish(r *Record, raw []byte, start page.LSN) (bool, *Error) {
	if want := binary.LittleEndian.Uint32(raw[recordHeader-4:]); checksum(raw) != want {
		return false, &Error{Cause: CauseChecksum, At: start, Record: start,
			Detail: fmt.Sprintf("the record of %d bytes has not the CRC %08X that it says", len(raw), want)}
	}
	if err := r.decode(d.f, raw); err != nil {
		return false, &Error{Cause: CauseBroken, At: start, Record: start, Detail: err.Error()}
	}
	end := d.pos.Align()
	if r.IsSwitch() {
		end = (end + page.LSN(d.segSize-1)) &^ page.LSN(d.segSize-1)
	}
	if err := d.checkOverwrite(r, start); err != nil {
		return false, err
	}
	r.Start, r.End = start, end
	d.prev, d.lsn, d.skip = start, end, end
	return true, nil
}

// checkOverwrite checks that a record which says "the one at X was given up" means the one that was.
func (d *Decoder) checkOverwrite(r *Record, start page.LSN) *Error {
	if r.Rmgr != pg.RmXLOG || r.Op() != opOverwrite {
		return nil
	}
	if len(r.Main) < 8 {
		return &Error{Cause: CauseBroken, At: start, Record: start,
			Detail: fmt.Sprintf("OVERWRITE_CONTRECORD of %d bytes: want 16", len(r.Main))}
	}
	if lsn := page.LSN(binary.LittleEndian.Uint64(r.Main)); lsn != d.overwritten && (lsn >= d.first || d.overwritten != 0) {
		return &Error{Cause: CauseBroken, At: start, Record: start,
			Detail: fmt.Sprintf("OVERWRITE_CONTRECORD for the record at %v, but the one at %v was given up", lsn, d.overwritten)}
	}
	return nil
}
