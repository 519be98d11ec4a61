package wal

import (
	"errors"
	"fmt"

	"github.com/stratapg/strata/page"
)

// The kinds of trouble, to be tested with errors.Is. All but ErrEnd mean that WAL which should be there
// cannot be had; ErrEnd alone may be how a log that is still being written looks at its end.
var (
	// ErrEnd: no valid WAL from here on. PostgreSQL ends its recovery at such a place. A Decoder cannot
	// know whether WAL was lost here; a DirReader looks behind it and says ErrCorrupt if it was.
	ErrEnd = errors.New("end of valid WAL")
	// ErrCorrupt: bytes that no server writes, or broken WAL with valid WAL behind it.
	ErrCorrupt = errors.New("corrupt WAL")
	// ErrForeign: WAL of another cluster, version, segment size or timeline.
	ErrForeign = errors.New("foreign WAL")
	// ErrGap: a segment is missing.
	ErrGap = errors.New("missing WAL")
	// ErrTruncated: a segment file is shorter than its segment.
	ErrTruncated = errors.New("truncated WAL segment")
)

// Cause says what a Decoder met.
type Cause uint8

// The causes. The first five come with ErrEnd.
const (
	CauseZeros     Cause = iota // bytes never written: a zero record length or page header
	CauseStalePage              // a page of another position: the segment file was recycled
	CauseHeader                 // a record header that cannot be: length, resource manager, xl_prev
	CauseChecksum               // the record's CRC does not fit
	CauseContinue               // the rest of a record is not where it should be
	CauseForeign                // another cluster, version or segment size
	CauseTimeline               // a page of a timeline that is not in the history
	CauseBroken                 // a record with a right CRC, or a page header, that cannot be
)

// Error is what a Decoder stops with.
type Error struct {
	Cause  Cause
	At     page.LSN // where the bytes are that do not fit
	Record page.LSN // start of the record that was being read, 0 between records
	Detail string   // what is wrong
	File   string   // segment file and offset, if known
}

// Error names the position and, if known, file and offset.
func (e *Error) Error() string {
	s := fmt.Sprintf("WAL at %v", e.At)
	if e.File != "" {
		s += " (" + e.File + ")"
	}
	if e.Record != 0 && e.Record != e.At {
		s += fmt.Sprintf(", in the record from %v", e.Record)
	}
	return s + ": " + e.Detail
}

// Unwrap gives the kind: ErrEnd, ErrForeign or ErrCorrupt.
func (e *Error) Unwrap() error {
	switch {
	case e.Cause <= CauseContinue:
		return ErrEnd
	case e.Cause == CauseBroken:
		return ErrCorrupt
	}
	return ErrForeign
}
