// Package bufpage reads and changes pages of PostgreSQL's relations: the header, the line pointers and the
// items behind them (storage/bufpage.h, storage/itemid.h).
//
//	 0  pd_lsn              u32 high, u32 low
//	 8  pd_checksum         u16
//	10  pd_flags            u16
//	12  pd_lower            u16   end of the line pointers
//	14  pd_upper            u16   start of the items
//	16  pd_special          u16   start of the access method's own space
//	18  pd_pagesize_version u16
//	20  pd_prune_xid        u32
//	24  line pointers       u32 each: offset 15 bits, flags 2, length 15
//
// All numbers are little-endian. Operations that change a page check every offset they use and return an
// error wrapping ErrBadPage, or ErrNoRoom, instead of leaving the page's bounds; a page for which one returned an error may be half
// changed only where the operation says so. Nothing here locks: a Page belongs to one goroutine at a time.
package bufpage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Offsets of the header's fields, and its size.
const (
	offLSN      = 0
	offChecksum = 8
	offFlags    = 10
	offLower    = 12
	offUpper    = 14
	offSpecial  = 16
	offSize     = 18
	offPruneXid = 20
	// HeaderSize is the length of the page header, SizeOfPageHeaderData.
	HeaderSize = 24
	// ItemIDSize is the length of a line pointer.
	ItemIDSize = 4
	// layoutVersion is PG_PAGE_LAYOUT_VERSION, the only one since PostgreSQL 8.3.
	layoutVersion = 4
)

// Flags of pd_flags.
const (
	HasFreeLines = 0x0001 // there may be unused line pointers
	PageFull     = 0x0002 // an update found no room
	AllVisible   = 0x0004 // every tuple is visible to everyone
	validFlags   = 0x0007
)

// Limits on line pointers: of a heap page by the smallest tuple, MaxHeapTuplesPerPage; of an index page by
// the smallest index tuple, MaxIndexTuplesPerPage.
const (
	MaxHeapTuples  = 291
	MaxIndexTuples = 408
)

var (
	// ErrBadPage marks a page, or an offset in it, that makes no sense.
	ErrBadPage = errors.New("bad page")
	// ErrNoRoom marks an item that does not fit on the page.
	ErrNoRoom = errors.New("no room on the page")
)

// Page is a page's pg.BlockSize bytes. Use From where the length is not known: methods other than those
// that return errors panic on a shorter slice.
type Page []byte

// From checks b's length and gives it as a Page; the bytes are not copied.
func From(b []byte) (Page, error) {
	if len(b) != pg.BlockSize {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrBadPage, len(b), pg.BlockSize)
	}
	return Page(b[:pg.BlockSize:pg.BlockSize]), nil
}

// Align rounds n up to a multiple of 8, PostgreSQL's MAXALIGN.
func Align(n int) int { return (n + 7) &^ 7 }

func (p Page) u16(off int) int { return int(binary.LittleEndian.Uint16(p[off:])) }

func (p Page) setU16(off, v int) { binary.LittleEndian.PutUint16(p[off:], uint16(v)) }

// LSN is pd_lsn: the end of the last record that changed the page.
func (p Page) LSN() page.LSN {
	le := binary.LittleEndian
	return page.LSN(uint64(le.Uint32(p[offLSN:]))<<32 | uint64(le.Uint32(p[offLSN+4:])))
}

// SetLSN sets pd_lsn.
func (p Page) SetLSN(l page.LSN) {
	binary.LittleEndian.PutUint32(p[offLSN:], uint32(l>>32))
	binary.LittleEndian.PutUint32(p[offLSN+4:], uint32(l))
}

// StoredChecksum is pd_checksum.
func (p Page) StoredChecksum() uint16 { return uint16(p.u16(offChecksum)) }

// SetStoredChecksum sets pd_checksum.
func (p Page) SetStoredChecksum(sum uint16) { p.setU16(offChecksum, int(sum)) }

// Flags is pd_flags.
func (p Page) Flags() uint16 { return uint16(p.u16(offFlags)) }

// SetFlag turns on the given bits of pd_flags.
func (p Page) SetFlag(f uint16) { p.setU16(offFlags, int(p.Flags()|f)) }

// ClearFlag turns off the given bits of pd_flags.
func (p Page) ClearFlag(f uint16) { p.setU16(offFlags, int(p.Flags()&^f)) }

// Lower is pd_lower.
func (p Page) Lower() int { return p.u16(offLower) }

// SetLower sets pd_lower.
func (p Page) SetLower(v int) { p.setU16(offLower, v) }

// Upper is pd_upper.
func (p Page) Upper() int { return p.u16(offUpper) }

// SetUpper sets pd_upper.
func (p Page) SetUpper(v int) { p.setU16(offUpper, v) }

// SpecialOffset is pd_special.
func (p Page) SpecialOffset() int { return p.u16(offSpecial) }

// PageSize is the page size that the header claims.
func (p Page) PageSize() int { return p.u16(offSize) & 0xFF00 }

// Layout is the page layout version that the header claims.
func (p Page) Layout() int { return p.u16(offSize) & 0xFF }

// PruneXid is pd_prune_xid: the oldest transaction whose deletions may be prunable, 0 for none.
func (p Page) PruneXid() uint32 { return binary.LittleEndian.Uint32(p[offPruneXid:]) }

// SetPruneXid sets pd_prune_xid.
func (p Page) SetPruneXid(xid uint32) { binary.LittleEndian.PutUint32(p[offPruneXid:], xid) }

// IsNew reports whether the page was never initialized: pd_upper is 0.
func (p Page) IsNew() bool { return p.Upper() == 0 }

// IsZero reports whether every byte is 0.
func (p Page) IsZero() bool {
	for b := []byte(p); len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
	}
	return true
}

// Init makes an empty page whose last special bytes (rounded up to 8) belong to the access method.
func (p Page) Init(special int) {
	clear(p)
	end := pg.BlockSize - Align(special)
	p.setU16(offLower, HeaderSize)
	p.setU16(offUpper, end)
	p.setU16(offSpecial, end)
	p.setU16(offSize, pg.BlockSize|layoutVersion)
}

// Special is the access method's space, possibly empty; an error if pd_special is out of the page.
func (p Page) Special() ([]byte, error) {
	if len(p) != pg.BlockSize {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrBadPage, len(p), pg.BlockSize)
	}
	s := p.SpecialOffset()
	if s < HeaderSize || s > pg.BlockSize {
		return nil, fmt.Errorf("%w: special space at %d", ErrBadPage, s)
	}
	return p[s:], nil
}

// Check tells what is wrong with the header, by the rules under which PostgreSQL takes a page into its
// buffers, and page size and layout version with them. An all-zero page is sound.
func (p Page) Check() error {
	if len(p) != pg.BlockSize {
		return fmt.Errorf("%w: %d bytes, want %d", ErrBadPage, len(p), pg.BlockSize)
	}
	if p.IsNew() {
		if !p.IsZero() {
			return fmt.Errorf("%w: pd_upper is 0 but the page is not empty", ErrBadPage)
		}
		return nil
	}
	if f := p.Flags(); f&^validFlags != 0 {
		return fmt.Errorf("%w: pd_flags %04X", ErrBadPage, f)
	}
	if v := p.u16(offSize); v != pg.BlockSize|layoutVersion {
		return fmt.Errorf("%w: pd_pagesize_version %04X", ErrBadPage, v)
	}
	return p.checkPointers()
}

// checkPointers is what every operation that moves items asks first.
func (p Page) checkPointers() error {
	if len(p) != pg.BlockSize {
		return fmt.Errorf("%w: %d bytes, want %d", ErrBadPage, len(p), pg.BlockSize)
	}
	lower, upper, special := p.Lower(), p.Upper(), p.SpecialOffset()
	if lower < HeaderSize || lower > upper || upper > special || special > pg.BlockSize || special != Align(special) {
		return fmt.Errorf("%w: pd_lower %d, pd_upper %d, pd_special %d", ErrBadPage, lower, upper, special)
	}
	return nil
}

// FreeSpace is the room between line pointers and items, 0 if pd_lower is above pd_upper.
func (p Page) FreeSpace() int { return max(0, p.Upper()-p.Lower()) }
