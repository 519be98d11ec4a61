package page

import (
	"fmt"
	"strconv"
	"strings"
)

// LSN is a position in PostgreSQL's write-ahead log. Zero is invalid. The LSN of a value is the end of
// the WAL record that made it, rounded up to 8.
type LSN uint64

const (
	// InvalidLSN says "no position".
	InvalidLSN LSN = 0
	// MaxLSN is above every position.
	MaxLSN LSN = 1<<64 - 1
	// recordAlign is MAXALIGN, to which every WAL record is padded.
	recordAlign = 8
)

// String gives PostgreSQL's form, "high/low" in upper-case hex without leading zeros.
func (l LSN) String() string {
	return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l))
}

// Hex gives the 16 upper-case hex digits used in layer file names.
func (l LSN) Hex() string { return fmt.Sprintf("%016X", uint64(l)) }

// Align rounds up to the next multiple of 8, where a WAL record may start.
func (l LSN) Align() LSN { return (l + recordAlign - 1) &^ (recordAlign - 1) }

// Aligned reports whether l is a multiple of 8.
func (l LSN) Aligned() bool { return l%recordAlign == 0 }

// ParseLSN reads "X/Y", each half hex of up to 32 bits in either case. Surrounding blanks are ignored.
func ParseLSN(s string) (LSN, error) {
	hi, lo, ok := strings.Cut(strings.TrimSpace(s), "/")
	if !ok {
		return 0, fmt.Errorf("LSN %q: want two hex numbers with a slash between, as in 0/16B3748", s)
	}
	h, err := strconv.ParseUint(hi, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("LSN %q: %q is no hex number of up to 32 bits", s, hi)
	}
	l, err := strconv.ParseUint(lo, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("LSN %q: %q is no hex number of up to 32 bits", s, lo)
	}
	return LSN(h<<32 | l), nil
}

// MarshalText gives PostgreSQL's form, so that JSON shows LSNs as people write them.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads PostgreSQL's form.
func (l *LSN) UnmarshalText(b []byte) error {
	v, err := ParseLSN(string(b))
	if err != nil {
		return err
	}
	*l = v
	return nil
}

// LSNRange is half open: Start <= x < End.
type LSNRange struct{ Start, End LSN }

// Contains reports whether x lies in r.
func (r LSNRange) Contains(x LSN) bool { return r.Start <= x && x < r.End }

// Empty reports whether nothing lies in r.
func (r LSNRange) Empty() bool { return r.Start >= r.End }

// Overlaps reports whether some LSN lies in both.
func (r LSNRange) Overlaps(o LSNRange) bool { return r.Start < o.End && o.Start < r.End }

// String gives "[start, end)".
func (r LSNRange) String() string { return "[" + r.Start.String() + ", " + r.End.String() + ")" }
