package wal

import (
	"fmt"
	"strconv"

	"github.com/stratapg/strata/page"
)

// Sizes of WAL (access/xlog_internal.h).
const (
	// PageSize is XLOG_BLCKSZ, the only one supported.
	PageSize = 8192
	// ShortHeader and LongHeader are the sizes of page headers; the long one starts each segment.
	ShortHeader = 24
	LongHeader  = 40
	// MinSegSize and MaxSegSize bound wal_segment_size, a power of two in bytes.
	MinSegSize = 1 << 20
	MaxSegSize = 1 << 30
	// DefaultSegSize is initdb's.
	DefaultSegSize = 16 << 20
)

// ValidSegSize reports whether a server can have this wal_segment_size.
func ValidSegSize(n uint32) bool {
	return n >= MinSegSize && n <= MaxSegSize && n&(n-1) == 0
}

// headerSize is the size of the header of the page that starts at lsn.
func headerSize(pageStart page.LSN, segSize uint32) uint32 {
	if pageStart&page.LSN(segSize-1) == 0 {
		return LongHeader
	}
	return ShortHeader
}

// RecordStart says where the record starts that follows one which ended at end: there, or behind the page
// header if end is the start of a page. segSize must be valid.
func RecordStart(end page.LSN, segSize uint32) page.LSN {
	end = end.Align()
	if end%PageSize == 0 {
		return end + page.LSN(headerSize(end, segSize))
	}
	return end
}

// RecordEnd says where a record of n bytes ends that starts at start, page headers included, rounded up to
// 8. start must lie behind its page's header and segSize be valid.
func RecordEnd(start page.LSN, n uint32, segSize uint32) page.LSN {
	lsn := start
	for {
		room := PageSize - uint32(lsn%PageSize)
		if n <= room {
			return (lsn + page.LSN(n)).Align()
		}
		n -= room
		lsn += page.LSN(room)
		lsn += page.LSN(headerSize(lsn, segSize))
	}
}

// checkpointRecordSize is the length of a checkpoint record: header, two bytes for the length of the main
// data, and the CheckPoint structure, the same in all versions.
const checkpointRecordSize = recordHeader + 2 + CheckPointSize

// CheckPointSize is sizeof(CheckPoint) in 14 to 17 (catalog/pg_control.h).
const CheckPointSize = 88

// ShutdownCheckpointEnd says where the checkpoint record ends that starts at start. Segsize must be valid.
func ShutdownCheckpointEnd(start page.LSN, segSize uint32) page.LSN {
	return RecordEnd(start, checkpointRecordSize, segSize)
}

// segNo is the number of the segment that holds lsn.
func segNo(lsn page.LSN, segSize uint32) uint64 { return uint64(lsn) / uint64(segSize) }

// segStart is the position of a segment's first byte.
func segStart(no uint64, segSize uint32) page.LSN { return page.LSN(no * uint64(segSize)) }

// SegmentName is the file name of the segment that holds lsn, on timeline tli.
func SegmentName(tli uint32, lsn page.LSN, segSize uint32) string {
	perID := uint64(1<<32) / uint64(segSize)
	no := segNo(lsn, segSize)
	return fmt.Sprintf("%08X%08X%08X", tli, uint32(no/perID), uint32(no%perID))
}

// ParseSegmentName takes a file name of 24 upper-case hex digits apart; start is the segment's first byte.
// ok is false for any other name and for numbers that no segment of this size has.
func ParseSegmentName(name string, segSize uint32) (tli uint32, start page.LSN, ok bool) {
	if len(name) != 24 || !upperHex(name) {
		return 0, 0, false
	}
	t, _ := strconv.ParseUint(name[:8], 16, 32)
	id, _ := strconv.ParseUint(name[8:16], 16, 32)
	seg, _ := strconv.ParseUint(name[16:], 16, 32)
	if t == 0 || seg >= 1<<32/uint64(segSize) {
		return 0, 0, false
	}
	return uint32(t), page.LSN(id<<32 + seg*uint64(segSize)), true
}

func upperHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}
