package wal

import (
	"encoding/binary"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Flags of a page header (access/xlog_internal.h).
const (
	pageContRecord = 0x0001 // the page starts with the rest of a record
	pageLong       = 0x0002
	pageRemovable  = 0x0004 // full-page images here may be left out of a compressed archive
	pageOverwrite  = 0x0008 // the record that should go on here was given up
	pageAllFlags   = 0x000F
)

// pageHeader is the header of a WAL page.
//
//	 0 magic u16    2 flags u16   4 timeline u32   8 page address u64   16 rest of the record u32   20 unused
//	24 system identifier u64     32 segment size u32   36 page size u32       (long header only)
type pageHeader struct {
	magic, flags     uint16
	timeline         uint32
	addr             page.LSN
	rest             uint32 // bytes of the record from the page before that are still to come
	systemID         uint64
	segSize, blksize uint32
}

// parsePageHeader reads b, which holds a whole short or long header.
func parsePageHeader(b []byte) pageHeader {
	le := binary.LittleEndian
	h := pageHeader{
		magic: le.Uint16(b), flags: le.Uint16(b[2:]), timeline: le.Uint32(b[4:]),
		addr: page.LSN(le.Uint64(b[8:])), rest: le.Uint32(b[16:]),
	}
	if len(b) >= LongHeader {
		h.systemID, h.segSize, h.blksize = le.Uint64(b[24:]), le.Uint32(b[32:]), le.Uint32(b[36:])
	}
	return h
}

// put writes the header over b and gives its size. The segment fields are written in a long header only.
func (h pageHeader) put(b []byte) int {
	le := binary.LittleEndian
	le.PutUint16(b, h.magic)
	le.PutUint16(b[2:], h.flags)
	le.PutUint32(b[4:], h.timeline)
	le.PutUint64(b[8:], uint64(h.addr))
	le.PutUint32(b[16:], h.rest)
	le.PutUint32(b[20:], 0)
	if h.flags&pageLong == 0 {
		return ShortHeader
	}
	le.PutUint64(b[24:], h.systemID)
	le.PutUint32(b[32:], h.segSize)
	le.PutUint32(b[36:], h.blksize)
	return LongHeader
}

// pageRules are what pages are checked against. sysid and timeline, 0 while unknown, are learnt from pages.
type pageRules struct {
	f        *format
	segSize  uint32
	systemID uint64
	timeline uint32 // of the page before
	history  *History
}

// check makes xlogreader's checks of the header of the page at lsn, those that need no record.
func (p *pageRules) check(b []byte, lsn page.LSN) (pageHeader, *Error) {
	h := parsePageHeader(b)
	cause, detail := p.judge(b, &h, lsn)
	if detail != "" {
		return h, &Error{Cause: cause, At: lsn, Detail: detail}
	}
	p.timeline = h.timeline
	if h.flags&pageLong != 0 {
		p.systemID = h.systemID
	}
	return h, nil
}

func (p *pageRules) judge(b []byte, h *pageHeader, lsn page.LSN) (Cause, string) {
	if allZero(b) {
		return CauseZeros, "the page was never written"
	}
	if h.magic != p.f.version.WALMagic() {
		if v, err := pg.VersionOfWALMagic(h.magic); err == nil {
			return CauseForeign, fmt.Sprintf("the page is PostgreSQL %d's, want %d's", v, p.f.version)
		}
		return CauseBroken, fmt.Sprintf("page magic %04X, want %04X: not WAL, or of an unsupported version", h.magic, p.f.version.WALMagic())
	}
	if h.flags&^pageAllFlags != 0 {
		return CauseBroken, fmt.Sprintf("unknown flags %04X in the page header", h.flags)
	}
	long := lsn&page.LSN(p.segSize-1) == 0
	if long && h.flags&pageLong != 0 {
		if c, d := p.judgeSegment(h); d != "" {
			return c, d
		}
	}
	if h.addr != lsn {
		return CauseStalePage, fmt.Sprintf("the page says that it is at %v: left over in a recycled segment, or a misnamed file", h.addr)
	}
	if long != (h.flags&pageLong != 0) {
		return CauseBroken, fmt.Sprintf("page header flags %04X: a long header belongs at the start of each segment and nowhere else", h.flags)
	}
	if h.timeline < p.timeline {
		return CauseStalePage, fmt.Sprintf("the page is of timeline %d after one of timeline %d", h.timeline, p.timeline)
	}
	if p.history != nil {
		if _, ok := p.history.Find(h.timeline); !ok {
			return CauseTimeline, fmt.Sprintf("the page is of timeline %d, which is no ancestor of timeline %d", h.timeline, p.history.Newest())
		}
	}
	return 0, ""
}

// judgeSegment checks what the long header says of cluster and segment.
func (p *pageRules) judgeSegment(h *pageHeader) (Cause, string) {
	switch {
	case p.systemID != 0 && h.systemID != p.systemID:
		return CauseForeign, fmt.Sprintf("the segment is of the cluster with system identifier %d, want %d", h.systemID, p.systemID)
	case h.segSize != p.segSize:
		return CauseForeign, fmt.Sprintf("the segment says that segments have %d bytes, want %d", h.segSize, p.segSize)
	case h.blksize != PageSize:
		return CauseForeign, fmt.Sprintf("WAL pages of %d bytes; only %d is supported", h.blksize, PageSize)
	}
	return 0, ""
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
