package redocheck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
)

// Layout of a WAL page header (access/xlog_internal.h).
const (
	hdrMagic    = 0
	hdrInfo     = 2
	hdrAddress  = 8
	hdrRemain   = 16
	hdrContinue = 0x0001 // XLP_FIRST_IS_CONTRECORD
)

var segmentName = regexp.MustCompile(`^[0-9A-F]{24}$`)

// firstRecord finds the first record boundary in the oldest segment of a directory: behind the rest of a
// record that began in the segment before.
func firstRecord(dir string, v pg.Version) (page.LSN, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	oldest := ""
	const timelineDigits = 8
	for _, e := range entries {
		n := e.Name()
		if segmentName.MatchString(n) && (oldest == "" || n[timelineDigits:] < oldest[timelineDigits:]) {
			oldest = n
		}
	}
	if oldest == "" {
		return 0, fmt.Errorf("%w: no WAL segment in %s", wal.ErrGap, dir)
	}
	name := filepath.Join(dir, oldest)
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	at, err := boundary(f, v)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return at, nil
}

// boundary gives the LSN of the first place in a segment where a record may start.
func boundary(f io.ReaderAt, v pg.Version) (page.LSN, error) {
	le := binary.LittleEndian
	var h [wal.ShortHeader]byte
	for off, size := int64(0), wal.LongHeader; ; off, size = off+wal.PageSize, wal.ShortHeader {
		if _, err := f.ReadAt(h[:], off); err != nil {
			if errors.Is(err, io.EOF) {
				return 0, fmt.Errorf("%w: no record starts in it", wal.ErrTruncated)
			}
			return 0, err
		}
		if m := le.Uint16(h[hdrMagic:]); m != v.WALMagic() {
			return 0, fmt.Errorf("%w: page magic %04X at byte %d, PostgreSQL %d writes %04X", wal.ErrForeign, m, off, v, v.WALMagic())
		}
		start := page.LSN(le.Uint64(h[hdrAddress:]))
		if le.Uint16(h[hdrInfo:])&hdrContinue == 0 {
			return start, nil
		}
		if rest := le.Uint32(h[hdrRemain:]); int64(rest) <= int64(wal.PageSize-size) {
			return (start + page.LSN(size) + page.LSN(rest)).Align(), nil
		}
	}
}
