package basebackup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg/wal"
)

// ErrNoWAL says that the server's WAL that a standby's backup is to hold is not where it was looked for.
var ErrNoWAL = errors.New("the server's WAL is not all there")

// walFile is a segment of the server's WAL as it goes into the archive: its bytes up to a place, and zeros.
type walFile struct {
	name string
	used int64
}

// planStandbyWAL finds the server's WAL from the last checkpoint's REDO pointer to the backup's LSN, and reads all of it: a record
// that is missing or damaged is to be known before the archive begins.
func (b *backup) planStandbyWAL() error {
	if b.o.WAL == nil || b.label.start == b.lsn {
		return nil
	}
	segSize := b.control.WALSegSize()
	r, err := wal.OpenFS(b.o.WAL, "the WAL given", wal.DirOptions{Version: b.o.Version, Start: b.label.start, Until: b.lsn,
		SegSize: segSize, SystemID: b.control.SystemID(), Timeline: b.label.tli, Target: b.tli})
	if err != nil {
		return fmt.Errorf("%w from %s, the REDO pointer of the checkpoint at %s: %w", ErrNoWAL, b.label.start, b.label.checkpoint, err)
	}
	err = b.readThrough(r)
	history := r.History()
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	for at := b.label.start; at < b.lsn; {
		end := at - at%page.LSN(segSize) + page.LSN(segSize)
		// A segment in which a timeline begins has a copy of what was before in the file of the new one.
		used := min(end, b.lsn)
		name, err := b.segmentFile(wal.SegmentName(history.At(used-1).ID, at, segSize))
		if err != nil {
			return err
		}
		b.given = append(b.given, walFile{name, int64(used - (end - page.LSN(segSize)))})
		at = end
	}
	return nil
}

// readThrough reads all records up to the backup's LSN.
func (b *backup) readThrough(r *wal.DirReader) error {
	var rec wal.Record
	for {
		ok, err := r.Next(b.ctx, &rec)
		switch {
		case err != nil && b.ctx.Err() != nil:
			return err
		case err != nil:
			return fmt.Errorf("%w: %w", ErrNoWAL, err)
		case ok:
			continue
		case r.LSN() == b.lsn:
			return nil
		}
		return fmt.Errorf("%w: it ends at %s, and the backup is of %s (%w); give the server's pg_wal or an archive of it that has both", ErrNoWAL, r.LSN(), b.lsn, reason(r.Stopped()))
	}
}

// reason is why reading stopped, for messages.
func reason(err error) error {
	if err == nil {
		return errors.New("the next record ends beyond it")
	}
	return err
}

// segmentFile finds a segment, which an archive may have as a part that its timeline did not fill.
func (b *backup) segmentFile(name string) (string, error) {
	_, err := fs.Stat(b.o.WAL, name)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := fs.Stat(b.o.WAL, name+partialSuffix); err == nil {
			return name + partialSuffix, nil
		}
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoWAL, err)
	}
	return name, nil
}

// partialSuffix ends the name of a segment that pg_receivewal is filling, or that a promotion cut short.
const partialSuffix = ".partial"

// writeStandbyWAL writes the segments. What follows the backup's LSN in the last one is left out, so that the archive does not
// depend on how far the server was: the standby streams it.
func (b *backup) writeStandbyWAL() error {
	for _, f := range b.given {
		if err := b.copySegment(f); err != nil {
			return fmt.Errorf("WAL segment %s: %w", f.name, err)
		}
	}
	return nil
}

func (b *backup) copySegment(f walFile) (err error) {
	src, err := b.o.WAL.Open(f.name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	size := int64(b.control.WALSegSize())
	name := walDir + strings.TrimSuffix(f.name, partialSuffix)
	if err := b.out.begin(name, size); err != nil {
		return err
	}
	buf := make([]byte, segmentChunk)
	for at := int64(0); at < size; {
		p := buf[:min(segmentChunk, size-at)]
		used := p[:max(0, min(int64(len(p)), f.used-at))]
		if _, err := io.ReadFull(src, used); err != nil {
			return fmt.Errorf("%w: at %d: %w", ErrNoWAL, at, err)
		}
		clear(p[len(used):])
		if _, err := b.out.Write(p); err != nil {
			return err
		}
		at += int64(len(p))
	}
	return b.out.end(name)
}

// segmentChunk is how much of a segment is copied at once.
const segmentChunk = 256 << 10
