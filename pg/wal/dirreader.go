package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// DirOptions say what to read.
type DirOptions struct {
	// Version of the server that wrote the WAL. Required.
	Version pg.Version
	// Start is the end of a record, from which to read on. Required, a multiple of 8.
	Start page.LSN
	// Prev is the start of the record that ends at Start, to check that the WAL goes on there. 0: not known.
	Prev page.LSN
	// Until ends the reading: no record that ends behind it is given. 0: read what there is. What lies
	// behind is not judged either.
	Until page.LSN
	// SegSize is wal_segment_size in bytes. 0: as the first segment says.
	SegSize uint32
	// SystemID is the cluster's system identifier. 0: not checked against anything but itself.
	SystemID uint64
	// Timeline is PostgreSQL's timeline at Start, in the control file ThisTimeLineID. 0: as the files suggest.
	Timeline uint32
	// Target is the timeline to follow. 0: the newest that descends from Timeline by the history files here,
	// as recovery_target_timeline = 'latest'.
	Target uint32
}

// readChunk is how much is read at once: enough to make the system call cheap, little enough for the cache.
const readChunk = 256 << 10

// DirReader reads the records of a directory of segment files: pg_wal or an archive of it. It stops after
// the last whole record where the log just ends: the next segment is not there, or the place was never
// written, or holds what a recycled segment held before. It fails where WAL is lost: a segment is missing or
// broken while valid WAL follows, is too short, or belongs elsewhere.
//
// The directory is listed once, when it is opened. Use by one goroutine at a time.
type DirReader struct {
	o       DirOptions
	a       *archive
	history *History
	d       *Decoder

	cur  segmentFile
	file fs.File
	size int64    // of file
	at   page.LSN // of the next byte to read from file
	end  page.LSN // of the use of file
	buf  []byte

	last page.LSN // end of the last record given
	done bool
	why  error // what ended the reading without being a failure
	err  error
}

// OpenDir opens a directory for reading from o.Start. The error is ErrGap if the segment that holds Start is
// not there, ErrForeign if it belongs elsewhere.
func OpenDir(dir string, o DirOptions) (*DirReader, error) { return OpenFS(os.DirFS(dir), dir, o) }

// OpenFS is OpenDir for any file system; label stands for it in messages.
func OpenFS(fsys fs.FS, label string, o DirOptions) (*DirReader, error) {
	if o.SegSize != 0 && !ValidSegSize(o.SegSize) {
		return nil, fmt.Errorf("WAL segment size %d: want a power of two from %d to %d", o.SegSize, MinSegSize, MaxSegSize)
	}
	a, err := listArchive(fsys, label, o.SegSize)
	if err != nil {
		return nil, err
	}
	h, err := a.descent(o.Start, o.Timeline, o.Target)
	if err != nil {
		return nil, err
	}
	d, err := NewDecoder(DecoderOptions{Version: o.Version, Start: o.Start, Prev: o.Prev,
		SegSize: a.segSize, SystemID: o.SystemID, History: h})
	if err != nil {
		return nil, err
	}
	r := &DirReader{o: o, a: a, history: h, d: d, buf: make([]byte, readChunk), last: o.Start}
	if err := r.openFirst(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// LSN is the end of the last record given, at first Start; a record behind Until does not count.
func (r *DirReader) LSN() page.LSN { return r.last }

// End is the end of the highest segment in use, or Until: where progress ends at the latest.
func (r *DirReader) End() page.LSN {
	end := max(r.a.last(r.history), r.o.Start)
	if r.o.Until != 0 {
		end = min(end, r.o.Until)
	}
	return end
}

// SegSize is the size of a segment in bytes.
func (r *DirReader) SegSize() uint32 { return r.a.segSize }

// SystemID is the cluster's system identifier, 0 if no segment was read yet and none was asked for.
func (r *DirReader) SystemID() uint64 { return r.d.rules.systemID }

// History is the PostgreSQL timeline being followed.
func (r *DirReader) History() *History { return r.history }

// Stopped says why Next gave no more records though Until was not reached: nil before that.
func (r *DirReader) Stopped() error { return r.why }

// Close closes the file in hand. The records given are no longer valid.
func (r *DirReader) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// Next reads the next record, valid until the next call. ok is false at the end; Stopped then says what was
// found there. An error wraps ErrCorrupt, ErrForeign, ErrGap or ErrTruncated, or is one of reading, and lasts.
func (r *DirReader) Next(ctx context.Context, rec *Record) (ok bool, err error) {
	if r.err != nil || r.done {
		return false, r.err
	}
	for {
		if r.o.Until != 0 && r.d.LSN() >= r.o.Until {
			r.done = true
			return false, nil
		}
		ok, err := r.d.Next(rec)
		if err != nil {
			return false, r.stop(ctx, err)
		}
		if ok {
			if r.o.Until != 0 && rec.End > r.o.Until {
				r.done = true
				return false, nil
			}
			r.last = rec.End
			return true, nil
		}
		more, err := r.fill(ctx)
		if err != nil {
			r.err = err
			return false, err
		}
		if !more {
			r.done = true
			return false, nil
		}
	}
}

// openFirst opens the segment that holds Start and checks the headers before it, which the Decoder will
// not see: that of the segment and that of the page.
func (r *DirReader) openFirst() error {
	start := r.o.Start
	seg := segStart(segNo(start, r.a.segSize), r.a.segSize)
	if start == seg {
		return nil // the Decoder sees the header; if the segment is not there, WAL ends here
	}
	f, end, ok := r.a.pick(r.history, seg)
	if !ok || end <= start {
		return fmt.Errorf("%w: %s, which should hold %v, is not in %s%s", ErrGap,
			SegmentName(r.history.At(start).ID, start, r.a.segSize), start, r.a.label, r.a.hint(r.history))
	}
	if err := r.open(f, end); err != nil {
		return err
	}
	pageStart := start &^ (PageSize - 1)
	if err := r.checkPage(seg); err != nil {
		return err
	}
	if pageStart != seg && pageStart != start {
		if err := r.seek(pageStart); err != nil {
			return err
		}
		if err := r.checkPage(pageStart); err != nil {
			return err
		}
	}
	return r.seek(start)
}

// checkPage reads the header of a page before Start and judges it: here even a stale or empty page is an
// error, as there was WAL once.
func (r *DirReader) checkPage(at page.LSN) error {
	var head [LongHeader]byte
	b := head[:headerSize(at, r.a.segSize)]
	if _, err := io.ReadFull(r.file, b); err != nil {
		return r.readError(err)
	}
	r.at += page.LSN(len(b))
	_, e := r.d.rules.check(b, at)
	if e == nil {
		return nil
	}
	r.place(e)
	switch e.Cause {
	case CauseZeros:
		e.Cause = CauseBroken
	case CauseStalePage:
		e.Cause = CauseForeign
	}
	return fmt.Errorf("cannot read on from %v: %w", r.o.Start, e)
}

// open takes f in hand, to be used up to end.
func (r *DirReader) open(f segmentFile, end page.LSN) error {
	if err := r.Close(); err != nil {
		return err
	}
	file, err := r.a.fsys.Open(f.name)
	if err != nil {
		return fmt.Errorf("open WAL segment in %s: %w", r.a.label, err)
	}
	r.file, r.cur, r.at, r.end = file, f, f.start, end
	st, err := file.Stat()
	if err != nil {
		return fmt.Errorf("WAL segment in %s: %w", r.a.label, err)
	}
	r.size = st.Size()
	if r.size > int64(r.a.segSize) {
		return r.tooLong(f, r.size)
	}
	return nil
}

// seek moves to the byte at lsn, which must not lie before the current one unless the file can seek.
func (r *DirReader) seek(lsn page.LSN) error {
	if lsn == r.at {
		return nil
	}
	if int64(lsn-r.cur.start) > r.size {
		return r.readError(io.EOF)
	}
	var err error
	if s, ok := r.file.(io.Seeker); ok {
		_, err = s.Seek(int64(lsn-r.cur.start), io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, r.file, int64(lsn-r.at))
	}
	if err != nil {
		return r.readError(err)
	}
	r.at = lsn
	return nil
}

// readError wraps what reading the file gave; an early end means that the file is too short.
func (r *DirReader) readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.tooShort(r.cur, r.size)
	}
	return fmt.Errorf("read WAL segment %s in %s at offset %d: %w", r.cur.name, r.a.label, r.at-r.cur.start, err)
}

// place completes an error with file and offset.
func (r *DirReader) place(e *Error) {
	if r.file != nil && e.At >= r.cur.start && e.At < r.cur.start+page.LSN(r.a.segSize) {
		e.File = fmt.Sprintf("%s in %s, offset %d", r.cur.name, r.a.label, e.At-r.cur.start)
	}
}
