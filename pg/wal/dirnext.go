package wal

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/stratapg/strata/page"
)

// fill feeds the Decoder the next bytes. It reports false where the log ends for want of a file.
func (r *DirReader) fill(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if r.file != nil && r.d.skip >= r.end && r.at < r.end { // after XLOG_SWITCH nothing more is in the file
		r.at, r.d.pos = r.end, r.end
	}
	if r.file == nil || r.at == r.end {
		if more, err := r.advance(ctx); !more {
			return false, err
		}
	}
	n, err := io.ReadFull(r.file, r.buf[:min(int64(len(r.buf)), int64(r.end-r.at))])
	r.at += page.LSN(n)
	r.d.Feed(r.buf[:n])
	if n > 0 {
		return true, nil
	}
	return false, r.short(ctx, err)
}

// short deals with a file that ended before its segment does: a partial segment may, where the log ends.
func (r *DirReader) short(ctx context.Context, err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) || !r.cur.partial {
		return r.readError(err)
	}
	later, err := r.laterSegment(ctx, r.cur.start+page.LSN(r.a.segSize))
	if err != nil {
		return err
	}
	if later != "" {
		return fmt.Errorf("%w: %s in %s ends at %v, but %s follows it: the whole segment is needed",
			ErrTruncated, r.cur.name, r.a.label, r.at, later)
	}
	r.why = fmt.Errorf("%w: %s in %s ends at %v", ErrEnd, r.cur.name, r.a.label, r.at)
	return nil
}

// advance opens the file that goes on where the one in hand ended. It reports false if there is none and
// the log may end here.
func (r *DirReader) advance(ctx context.Context) (bool, error) {
	at := r.d.Position()
	seg := segStart(segNo(at, r.a.segSize), r.a.segSize)
	f, end, ok := r.a.pick(r.history, seg)
	if ok && end > at {
		if err := r.open(f, end); err != nil {
			return false, err
		}
		return true, r.seek(at)
	}
	name := SegmentName(r.history.At(at).ID, at, r.a.segSize)
	later, err := r.laterSegment(ctx, seg+page.LSN(r.a.segSize))
	if err != nil {
		return false, err
	}
	if later != "" {
		return false, fmt.Errorf("%w: %s is not in %s, but %s is: WAL from %v on is needed%s",
			ErrGap, name, r.a.label, later, r.d.LSN(), r.a.hint(r.history))
	}
	if len(r.a.starts) == 0 {
		return false, fmt.Errorf("%w: %s is not in %s%s", ErrGap, name, r.a.label, r.a.hint(r.history))
	}
	if other := r.strayTimeline(seg); other != "" {
		return false, fmt.Errorf("%w: %s is not in %s, but %s is%s", ErrGap, name, r.a.label, other, r.a.hint(r.history))
	}
	r.why = fmt.Errorf("%w: %s is not in %s", ErrEnd, name, r.a.label)
	return false, nil
}

// strayTimeline finds a segment from seg on of a timeline newer than those in use whose history is not known:
// the log may well go on there.
func (r *DirReader) strayTimeline(seg page.LSN) string {
	for _, s := range r.a.starts {
		for _, f := range r.a.files[s] {
			if s >= seg && f.tli > r.history.Newest() && r.a.histories[f.tli] == nil && r.validSegment(f) {
				return f.name
			}
		}
	}
	return ""
}

// stop decides what an error of the Decoder means. At an ErrEnd it looks for valid WAL behind the place: if
// there is some, WAL was lost; if not, this is where the log ends.
func (r *DirReader) stop(ctx context.Context, err error) error {
	e := &Error{}
	if !errors.As(err, &e) {
		r.err = err
		return err
	}
	r.place(e)
	if !errors.Is(err, ErrEnd) {
		r.err = err
		return err
	}
	r.err = r.judgeEnd(ctx, e)
	if r.err == nil {
		r.done, r.why = true, err
	}
	return r.err
}

// judgeEnd says what is wrong with an end of WAL, nil if nothing is.
func (r *DirReader) judgeEnd(ctx context.Context, e *Error) error {
	found, err := r.validBehind(ctx, e)
	if err != nil {
		return err
	}
	if found != "" {
		return fmt.Errorf("%w: %w; valid WAL follows (%s), so this is not where the log ends", ErrCorrupt, e, found)
	}
	if r.size < int64(r.a.segSize) && !r.cur.partial {
		return fmt.Errorf("%w: %s in %s has %d bytes of %d; %w", ErrTruncated, r.cur.name, r.a.label, r.size, r.a.segSize, e)
	}
	return nil
}
