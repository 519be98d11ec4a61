package wal

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// ShutdownCheckpoint describes WAL whose only record is a shutdown checkpoint: what a server needs to start
// from a base backup as after a clean stop.
type ShutdownCheckpoint struct {
	Version  pg.Version
	SegSize  uint32 // bytes
	SystemID uint64
	Timeline uint32
	// LSN is where the record goes, the end of the record before it; behind the page header if that is a
	// page's start. A multiple of 8.
	LSN page.LSN
	// Prev is the start of the record before, 0 if there is none to point to.
	Prev page.LSN
	// CheckPoint is the structure as the control file has it (88 bytes). Its redo pointer is set to the
	// record's start, as a shutdown checkpoint's must be.
	CheckPoint []byte
	// BackupEnd puts the record of a backup's end behind, which a server that finds a backup_label wants.
	BackupEnd bool
}

// CheckpointWAL is the WAL that BuildShutdownCheckpoint made.
type CheckpointWAL struct {
	// Start of the checkpoint, which belongs in the control file's checkPoint, and the end of the last record.
	Start, End page.LSN
	// CheckPoint is the structure as it is in the record and belongs in the control file.
	CheckPoint []byte
	// Segments are one, or two if the record crosses a segment's end, in order.
	Segments []Segment
}

// Segment is a WAL segment that is mostly zeros.
type Segment struct {
	Name  string
	Size  int64
	start page.LSN
	pages []segmentPage // ascending
}

type segmentPage struct {
	offset int64
	data   []byte
}

// BuildShutdownCheckpoint makes the segments. The bytes before the record on its page are zeros that the page
// header declares to be the rest of an earlier record, so that readers step over them. Pages before it in the
// segment are empty, but for the first, whose header identifies the segment.
func BuildShutdownCheckpoint(c ShutdownCheckpoint) (*CheckpointWAL, error) {
	w := segmentWriter{version: c.Version, segSize: c.SegSize, systemID: c.SystemID, timeline: c.Timeline}
	start := RecordStart(c.LSN, c.SegSize)
	if err := w.check(start, c.LSN); err != nil {
		return nil, fmt.Errorf("shutdown checkpoint: %w", err)
	}
	switch {
	case len(c.CheckPoint) != CheckPointSize:
		return nil, fmt.Errorf("shutdown checkpoint: structure of %d bytes, want %d", len(c.CheckPoint), CheckPointSize)
	case c.Prev >= start:
		return nil, fmt.Errorf("shutdown checkpoint at %v: the record before cannot start at %v", start, c.Prev)
	}
	out := &CheckpointWAL{Start: start, CheckPoint: append([]byte(nil), c.CheckPoint...)}
	binary.LittleEndian.PutUint64(out.CheckPoint, uint64(start))
	main := append([]byte{idShort, CheckPointSize}, out.CheckPoint...)
	out.End = w.record(start, NewRecord(RecordHeader{Prev: c.Prev, Rmgr: pg.RmXLOG, Info: 0}, main))
	if c.BackupEnd {
		main := binary.LittleEndian.AppendUint64([]byte{idShort, lsnSize}, uint64(start))
		out.End = w.record(RecordStart(out.End, c.SegSize), NewRecord(RecordHeader{Prev: start, Rmgr: pg.RmXLOG, Info: backupEndInfo}, main))
	}
	out.Segments = w.segments
	return out, nil
}

const (
	backupEndInfo = 0x50 // XLOG_BACKUP_END, whose data is where the backup's WAL begins
	lsnSize       = 8
)

// EmptySegment is where WAL will go on at lsn: it has the header of the page that lsn is on, and no record. So a Neon
// compute gets it, which learns from elsewhere where its last record begins.
func EmptySegment(v pg.Version, segSize uint32, systemID uint64, timeline uint32, lsn page.LSN) (Segment, error) {
	w := segmentWriter{version: v, segSize: segSize, systemID: systemID, timeline: timeline}
	if err := w.check(lsn, lsn); err != nil {
		return Segment{}, fmt.Errorf("WAL segment for LSN %s: %w", lsn, err)
	}
	at := lsn &^ (PageSize - 1)
	before := uint32(0)
	if lsn != at {
		header := headerSize(at, segSize)
		if uint32(lsn-at) < header {
			return Segment{}, fmt.Errorf("WAL segment for LSN %s, which lies in a page's header", lsn)
		}
		before = uint32(lsn-at) - header
	}
	w.page(at, before)
	return w.segments[0], nil
}

// RecordHeader is what a record's header says beside its length and CRC.
type RecordHeader struct {
	Xid  uint32
	Prev page.LSN
	Info uint8
	Rmgr pg.Rmgr
}

// NewRecord puts a header with length and CRC before body, the headers and data of the record's parts.
func NewRecord(h RecordHeader, body []byte) []byte {
	le := binary.LittleEndian
	rec := make([]byte, recordHeader, recordHeader+len(body))
	le.PutUint32(rec, uint32(recordHeader+len(body)))
	le.PutUint32(rec[4:], h.Xid)
	le.PutUint64(rec[8:], uint64(h.Prev))
	rec[16], rec[17] = h.Info, uint8(h.Rmgr)
	rec = append(rec, body...)
	le.PutUint32(rec[recordHeader-4:], checksum(rec))
	return rec
}

// segmentWriter lays records over pages and segments, in their order.
type segmentWriter struct {
	version  pg.Version
	segSize  uint32
	systemID uint64
	timeline uint32
	segments []Segment
}

// check refuses what cannot be written at start, which is asked for as lsn.
func (w *segmentWriter) check(start, lsn page.LSN) error {
	o := DecoderOptions{Version: w.version, Start: lsn, SegSize: w.segSize}
	if err := o.validate(); err != nil {
		return err
	}
	if w.timeline == 0 {
		return fmt.Errorf("timeline 0 does not exist")
	}
	if start < page.LSN(w.segSize) || start > page.MaxLSN-page.LSN(2*w.segSize) {
		return fmt.Errorf("at %v: PostgreSQL's WAL starts with the second segment", start)
	}
	return nil
}

// record writes a record and gives its end.
func (w *segmentWriter) record(start page.LSN, rec []byte) page.LSN {
	at := start &^ (PageSize - 1)
	before := uint32(start-at) - headerSize(at, w.segSize)
	p := w.page(at, before)
	n := copy(p[start-at:], rec)
	for rest := rec[n:]; len(rest) > 0; rest = rest[n:] {
		at += PageSize
		p = w.page(at, uint32(len(rest)))
		n = copy(p[headerSize(at, w.segSize):], rest)
	}
	return RecordEnd(start, uint32(len(rec)), w.segSize)
}

// page gives the page at lsn. If it is new, its first rest bytes belong to an earlier record, and before it comes the
// segment with its first page if it is the segment's first to be used.
func (w *segmentWriter) page(lsn page.LSN, rest uint32) []byte {
	seg := segStart(segNo(lsn, w.segSize), w.segSize)
	offset := int64(lsn - seg)
	if n := len(w.segments); n == 0 || w.segments[n-1].start != seg {
		w.segments = append(w.segments, Segment{Name: SegmentName(w.timeline, seg, w.segSize), Size: int64(w.segSize), start: seg})
		if lsn != seg {
			w.page(seg, 0)
		}
	}
	s := &w.segments[len(w.segments)-1]
	if n := len(s.pages); n > 0 && s.pages[n-1].offset == offset {
		return s.pages[n-1].data
	}
	h := pageHeader{magic: w.version.WALMagic(), timeline: w.timeline, addr: lsn, rest: rest}
	if rest > 0 {
		h.flags |= pageContRecord
	}
	if lsn == seg {
		h.flags |= pageLong
		h.systemID, h.segSize, h.blksize = w.systemID, w.segSize, PageSize
	}
	p := make([]byte, PageSize)
	h.put(p)
	s.pages = append(s.pages, segmentPage{offset: offset, data: p})
	return p
}

// WriteTo writes the whole segment, zeros included.
func (s *Segment) WriteTo(w io.Writer) (int64, error) {
	var zeros [64 << 10]byte
	done := int64(0)
	pad := func(to int64) error {
		for done < to {
			n, err := w.Write(zeros[:min(int64(len(zeros)), to-done)])
			done += int64(n)
			if err != nil {
				return err
			}
		}
		return nil
	}
	for _, p := range s.pages {
		if err := pad(p.offset); err != nil {
			return done, err
		}
		n, err := w.Write(p.data)
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	err := pad(s.Size)
	return done, err
}

var _ io.WriterTo = (*Segment)(nil)

// Bytes gives the whole segment at once: up to 1 GiB.
func (s *Segment) Bytes() []byte {
	b := make([]byte, s.Size)
	for _, p := range s.pages {
		copy(b[p.offset:], p.data)
	}
	return b
}
