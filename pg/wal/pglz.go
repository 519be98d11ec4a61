package wal

import (
	"errors"
	"fmt"
)

var errPGLZ = errors.New("pglz: a reference that points outside of what was written, or cut off")

// pglzDecompress fills dst from src, PostgreSQL's own LZ format (common/pg_lzcompress.c):
//
//	a control byte, lowest bit first, then eight items:
//	bit 0: a literal byte
//	bit 1: length-3 in the low 4 bits, offset bits 8 to 11 in the high 4; offset bits 0 to 7;
//	       if length-3 is 15 one more byte to be added to the length
//
// The last reference may be cut by the end of dst. Both must end together.
func pglzDecompress(dst, src []byte) error {
	s, d := 0, 0
	for s < len(src) && d < len(dst) {
		control := src[s]
		s++
		for range 8 {
			if s >= len(src) || d >= len(dst) {
				break
			}
			if control&1 == 0 {
				dst[d] = src[s]
				s++
				d++
			} else {
				length, offset, used := pglzReference(src[s:])
				if used == 0 || offset == 0 || offset > d {
					return errPGLZ
				}
				s += used
				d = repeat(dst, d, offset, length)
			}
			control >>= 1
		}
	}
	if s != len(src) || d != len(dst) {
		return fmt.Errorf("pglz: %d of %d bytes made %d of %d", s, len(src), d, len(dst))
	}
	return nil
}

// pglzReference reads a reference; used is 0 if b is too short.
func pglzReference(b []byte) (length, offset, used int) {
	if len(b) < 2 {
		return 0, 0, 0
	}
	length, offset = int(b[0]&0x0F)+3, int(b[0]&0xF0)<<4|int(b[1])
	if length < 18 {
		return length, offset, 2
	}
	if len(b) < 3 {
		return 0, 0, 0
	}
	return length + int(b[2]), offset, 3
}

// repeat writes to dst[d:] what stands offset bytes before it, at most to the end of dst. Source and target
// may overlap; then the stretch repeats itself.
func repeat(dst []byte, d, offset, length int) int {
	end := min(d+length, len(dst))
	from := d - offset
	for d < end {
		d += copy(dst[d:end], dst[from:d])
	}
	return d
}
