// Package mask hides in a page what PostgreSQL itself lets differ between a page and its redone copy:
// hint bits that are set without WAL, free space between line pointers and tuples, the page's LSN and
// checksum. The rules are those of the rm_mask functions that `wal_consistency_checking` uses
// (access/common/bufmask.c and heap_mask, btree_mask, hash_mask, gin_mask, gist_mask, spg_mask, brin_mask,
// seq_mask, generic_mask); they are the same in versions 14 to 17. docs/masks.md lists them with reasons.
//
// PostgreSQL picks the mask by the resource manager of the record at hand; here it follows from the page's
// own bytes (KindOf), so that whole clusters can be compared. Map pages are the one place where this
// package is stricter than PostgreSQL, whose heap mask takes a whole visibility map page for free space;
// one flag of GiST pages, which nobody reads, is where it hides more.
//
// Nothing here panics or fails on a damaged page: what makes no sense is left unmasked, so that it shows.
// All functions are pure and may be called concurrently.
package mask

import (
	"encoding/binary"

	"github.com/stratapg/strata/pg"
)

// Layout of a page header (storage/bufpage.h) and of a line pointer (storage/itemid.h).
const (
	offLSN      = 0
	offChecksum = 8
	offFlags    = 10
	offLower    = 12
	offUpper    = 14
	offSpecial  = 16
	offPruneXid = 20
	headerSize  = 24
	linePtrSize = 4

	// hintFlags are PD_HAS_FREE_LINES, PD_PAGE_FULL and PD_ALL_VISIBLE.
	hintFlags = 0x0001 | 0x0002 | 0x0004

	lpNormal = 1

	maxAlign = 8
)

// masker hides bytes of one page. Where cover is set, it also notes there which bits it hides.
type masker struct {
	p     []byte
	cover []byte // pg.BlockSize long, or nil
	blkno uint32
}

// Apply masks a page of the given kind in place: afterwards, two pages that PostgreSQL takes for equal have
// equal bytes. blkno is the page's block number within its relation. A slice that is not pg.BlockSize long
// is left alone.
func Apply(p []byte, kind Kind, blkno uint32) {
	m := masker{p: p, blkno: blkno}
	m.run(kind)
}

// Cover tells which bits of a page Apply hides: in the result a set bit is a hidden one. Bits that decide
// about the masking of others (tuple headers, pd_lower) count by their present value.
func Cover(p []byte, kind Kind, blkno uint32) []byte {
	cover := make([]byte, pg.BlockSize)
	m := masker{p: append([]byte(nil), p...), cover: cover, blkno: blkno}
	m.run(kind)
	return cover
}

// Difference compares two pages of one block under the mask of a's kind, and returns the first offset at
// which they differ, or -1. Neither page is changed. Pages of another length than pg.BlockSize differ at
// the end of the shorter one unless they are equal.
func Difference(a, b []byte, kind Kind, blkno uint32) int {
	if len(a) != pg.BlockSize || len(b) != pg.BlockSize {
		return firstDifference(a, b)
	}
	var x, y [pg.BlockSize]byte
	copy(x[:], a)
	copy(y[:], b)
	if x == y {
		return -1
	}
	Apply(x[:], kind, blkno)
	Apply(y[:], kind, blkno)
	if x == y {
		return -1
	}
	return firstDifference(x[:], y[:])
}

func firstDifference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) == len(b) {
		return -1
	}
	return n
}

func (m *masker) run(kind Kind) {
	if len(m.p) != pg.BlockSize {
		return
	}
	m.clear(offLSN, 8)
	m.clear(offChecksum, 2)
	switch kind {
	case KindHeap:
		m.hints()
		m.unused()
		m.heap()
	case KindBtree:
		m.btree()
	case KindSequence, KindGeneric:
		m.unused()
	case KindHash:
		m.hash()
	case KindGin:
		m.gin()
	case KindGist:
		m.gist()
	case KindSPGist:
		m.hints()
		if m.u16(offLower) >= headerSize {
			m.unused()
		}
	case KindBRIN:
		m.brin()
	case KindNew, KindVM, KindFSM:
	}
}

func (m *masker) u16(off int) int {
	return int(binary.LittleEndian.Uint16(m.p[off:]))
}

// clear zeroes n bytes.
func (m *masker) clear(off, n int) {
	clear(m.p[off : off+n])
	if m.cover != nil {
		for i := off; i < off+n; i++ {
			m.cover[i] = 0xFF
		}
	}
}

// clear16 clears bits of a little-endian 16-bit field.
func (m *masker) clear16(off int, bits uint16) {
	binary.LittleEndian.PutUint16(m.p[off:], uint16(m.u16(off))&^bits)
	m.note16(off, bits)
}

// set16 sets bits of a little-endian 16-bit field.
func (m *masker) set16(off int, bits uint16) {
	binary.LittleEndian.PutUint16(m.p[off:], uint16(m.u16(off))|bits)
	m.note16(off, bits)
}

func (m *masker) note16(off int, bits uint16) {
	if m.cover != nil {
		m.cover[off] |= byte(bits)
		m.cover[off+1] |= byte(bits >> 8)
	}
}

// hints hides the page header's hints (mask_page_hint_bits).
func (m *masker) hints() {
	m.clear(offPruneXid, 4)
	m.clear16(offFlags, hintFlags)
}

// unused hides the free space (mask_unused_space). PostgreSQL gives up on a page whose pointers make no
// sense; here such a page stays as it is.
func (m *masker) unused() {
	lower, upper, special := m.u16(offLower), m.u16(offUpper), m.u16(offSpecial)
	if lower > upper || special < upper || lower < headerSize || special > pg.BlockSize {
		return
	}
	m.clear(lower, upper-lower)
}

// content hides all of a page but its flags and special offset (mask_page_content): what is left of a
// deleted page.
func (m *masker) content() {
	m.clear(headerSize, pg.BlockSize-headerSize)
	m.clear(offLower, 2)
	m.clear(offUpper, 2)
}

// items gives the number of line pointers.
func (m *masker) items() int {
	lower := m.u16(offLower)
	if lower <= headerSize || lower > pg.BlockSize {
		return 0
	}
	return (lower - headerSize) / linePtrSize
}

// item reads line pointer i, counted from 0: 15 bits offset, 2 bits flags, 15 bits length.
func (m *masker) item(i int) (off, flags, length int) {
	lp := binary.LittleEndian.Uint32(m.p[headerSize+i*linePtrSize:])
	return int(lp & 0x7FFF), int(lp >> 15 & 3), int(lp >> 17)
}

// lpFlags hides the flags of the line pointers (mask_lp_flags), which scans set without WAL.
func (m *masker) lpFlags() {
	const loBit, hiBit = 0x8000, 0x0001 // bits 15 and 16 of the 32
	for i := range m.items() {
		at := headerSize + i*linePtrSize
		m.clear16(at, loBit)
		m.clear16(at+2, hiBit)
	}
}
