package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/stratapg/strata/page"
)

// Survey looks at every segment that is to be read, by name, size and header alone, and fails where Next
// would fail later: a segment is missing while a later one is there, has the wrong size, or is of another
// cluster. Call it before the first Next to take either all of a directory or, for such faults, nothing. It
// reads one header per segment and ends where the log seems to end; nil does not promise that Next succeeds.
func (r *DirReader) Survey(ctx context.Context) error {
	size := page.LSN(r.a.segSize)
	last := r.a.last(r.history)
	if r.o.Until != 0 {
		last = min(last, r.o.Until)
	}
	for at := segStart(segNo(r.o.Start, r.a.segSize), r.a.segSize); at < last; at += size {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, _, ok := r.a.pick(r.history, at)
		if !ok {
			return r.surveyGap(ctx, at)
		}
		goesOn, err := r.surveyFile(f)
		if err != nil || !goesOn {
			return err
		}
	}
	return nil
}

// surveyGap judges that there is no file for the segment at.
func (r *DirReader) surveyGap(ctx context.Context, at page.LSN) error {
	later, err := r.laterSegment(ctx, at+page.LSN(r.a.segSize))
	if err != nil || later == "" {
		return err
	}
	return fmt.Errorf("%w: %s is not in %s, but %s is: copy it there too%s", ErrGap,
		SegmentName(r.history.At(at).ID, at, r.a.segSize), r.a.label, later, r.a.hint(r.history))
}

// surveyFile judges one file; goesOn is false where it does not hold what its name says, so that only
// reading can tell whether the log ends before it.
func (r *DirReader) surveyFile(f segmentFile) (goesOn bool, err error) {
	st, err := fs.Stat(r.a.fsys, f.name)
	switch {
	case err != nil:
		return false, fmt.Errorf("WAL segment in %s: %w", r.a.label, err)
	case st.Size() > int64(r.a.segSize):
		return false, r.tooLong(f, st.Size())
	case f.partial:
		return false, nil
	case st.Size() < int64(r.a.segSize):
		return false, r.tooShort(f, st.Size())
	}
	var head [LongHeader]byte
	if err := r.a.readHead(f.name, head[:]); err != nil {
		return false, fmt.Errorf("read WAL segment %s in %s: %w", f.name, r.a.label, err)
	}
	rules := pageRules{f: r.d.f, segSize: r.a.segSize, systemID: r.d.rules.systemID}
	_, e := rules.check(head[:], f.start)
	if e == nil {
		return true, nil
	}
	if errors.Is(e, ErrForeign) {
		e.File = fmt.Sprintf("%s in %s, offset 0", f.name, r.a.label)
		return false, e
	}
	return false, nil
}

func (r *DirReader) tooLong(f segmentFile, size int64) error {
	return fmt.Errorf("%w: %s in %s has %d bytes, more than a segment of %d", ErrForeign, f.name, r.a.label, size, r.a.segSize)
}

func (r *DirReader) tooShort(f segmentFile, size int64) error {
	return fmt.Errorf("%w: %s in %s ends after %d bytes of %d: copy the whole file", ErrTruncated, f.name, r.a.label, size, r.a.segSize)
}
