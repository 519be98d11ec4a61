// Package xlogrec takes apart the main data of those WAL records that change something which no block
// reference names: transactions, relation files, databases, SLRUs, the control file, visibility maps.
//
// Each parser is a pure function of the record's bytes. Where versions differ, the parser is told the
// version; the source of a layout is named at its parser (PostgreSQL's headers of 14 to 17). Parsers refuse
// what is too short or has impossible counts, never panic, and allocate only for what is there. Slices in
// results point into the record.
package xlogrec

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/stratapg/strata/page"
)

// ErrMalformed marks main data that no server writes.
var ErrMalformed = errors.New("malformed WAL record")

// reader takes little-endian fields from the front of b; after the first that is not there it gives zeros
// and remembers what was missing.
type reader struct {
	b    []byte
	what string
	err  error
}

func (r *reader) take(n int, field string) []byte {
	if r.err == nil && (n < 0 || n > len(r.b)) {
		r.err = fmt.Errorf("%w: %s: %d bytes left, %d needed for %s", ErrMalformed, r.what, len(r.b), n, field)
	}
	if r.err != nil {
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8(field string) uint8 {
	if b := r.take(1, field); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16(field string) uint16 {
	if b := r.take(2, field); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32(field string) uint32 {
	if b := r.take(4, field); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64(field string) uint64 {
	if b := r.take(8, field); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// array takes n elements of the given size, n being a signed 32-bit field of the record.
func (r *reader) array(n uint32, size int, field string) []byte {
	if r.err == nil && uint64(n) > uint64(len(r.b)/size) {
		r.err = fmt.Errorf("%w: %s: %d bytes left, too few for %d %s", ErrMalformed, r.what, len(r.b), n, field)
	}
	if r.err != nil {
		return nil
	}
	return r.take(int(n)*size, field)
}

// Xids is an array of 32-bit numbers in a record.
type Xids []byte

// Len is the number of elements, At the i-th.
func (x Xids) Len() int        { return len(x) / 4 }
func (x Xids) At(i int) uint32 { return binary.LittleEndian.Uint32(x[4*i:]) }

// Rels is an array of relation names (RelFileNode, since 16 RelFileLocator) in a record.
type Rels []byte

const relSize = 12

// Len is the number of elements, At the i-th, as its main fork.
func (x Rels) Len() int { return len(x) / relSize }
func (x Rels) At(i int) page.RelTag {
	b := x[relSize*i:]
	le := binary.LittleEndian
	return page.RelTag{Spc: le.Uint32(b), DB: le.Uint32(b[4:]), Rel: le.Uint32(b[8:])}
}

func (r *reader) rel() page.RelTag {
	if b := r.take(relSize, "relation"); b != nil {
		return Rels(b).At(0)
	}
	return page.RelTag{}
}
