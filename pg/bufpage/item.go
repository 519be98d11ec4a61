package bufpage

import (
	"encoding/binary"
	"fmt"

	"github.com/stratapg/strata/pg"
)

// ItemID is a line pointer.
type ItemID uint32

// What a line pointer stands for (lp_flags).
const (
	Unused   = 0
	Normal   = 1
	Redirect = 2 // the offset is another line pointer's number
	Dead     = 3
)

// NewItemID puts a line pointer together.
func NewItemID(off, flags, length int) ItemID {
	return ItemID(off&0x7FFF | (flags&3)<<15 | length<<17)
}

// Offset is lp_off: where the item is, or for Redirect a line pointer's number.
func (i ItemID) Offset() int { return int(i & 0x7FFF) }

// Flags is lp_flags.
func (i ItemID) Flags() int { return int(i >> 15 & 3) }

// Len is lp_len, the item's length in bytes.
func (i ItemID) Len() int { return int(i >> 17) }

// Used reports whether the line pointer is anything but Unused.
func (i ItemID) Used() bool { return i.Flags() != Unused }

// HasStorage reports whether an item belongs to the line pointer.
func (i ItemID) HasStorage() bool { return i.Len() != 0 }

// MaxOffset is the number of line pointers, by pd_lower; never more than fit on a page.
func (p Page) MaxOffset() int {
	lower := min(p.Lower(), pg.BlockSize)
	if lower <= HeaderSize {
		return 0
	}
	return (lower - HeaderSize) / ItemIDSize
}

func linp(n int) int { return HeaderSize + (n-1)*ItemIDSize }

// ItemID gives line pointer n, counted from 1; the zero (unused) ItemID if there is no such.
func (p Page) ItemID(n int) ItemID {
	if n < 1 || n > p.MaxOffset() {
		return 0
	}
	return p.itemID(n)
}

func (p Page) itemID(n int) ItemID { return ItemID(binary.LittleEndian.Uint32(p[linp(n):])) }

func (p Page) setItemID(n int, id ItemID) { binary.LittleEndian.PutUint32(p[linp(n):], uint32(id)) }

// SetItemID overwrites line pointer n, which must exist.
func (p Page) SetItemID(n int, id ItemID) error {
	if n < 1 || n > p.MaxOffset() {
		return fmt.Errorf("%w: no line pointer %d of %d", ErrBadPage, n, p.MaxOffset())
	}
	p.setItemID(n, id)
	return nil
}

// Item gives the bytes behind line pointer n, in the page. It is an error if there are none or if they
// reach out of the item space.
func (p Page) Item(n int) ([]byte, error) {
	if n < 1 || n > p.MaxOffset() {
		return nil, fmt.Errorf("%w: no line pointer %d of %d", ErrBadPage, n, p.MaxOffset())
	}
	id := p.itemID(n)
	off, end := id.Offset(), id.Offset()+id.Len()
	if !id.HasStorage() || off < HeaderSize || end > len(p) {
		return nil, fmt.Errorf("%w: line pointer %d is (%d,%d,%d), which is no item", ErrBadPage, n, id.Offset(), id.Flags(), id.Len())
	}
	return p[off:end:end], nil
}

// AddFlags say how AddItem places an item.
type AddFlags int

const (
	// Overwrite stores at exactly the offset given, which must be unused or one past the last; without it
	// the line pointers from there on move up by one.
	Overwrite AddFlags = 1
	// Heap refuses more line pointers than a heap page may have.
	Heap AddFlags = 2
)

// AddItem places an item at line pointer n, or where n is 0 at the first free one, and gives its number
// (PageAddItemExtended). The page is unchanged after an error.
func (p Page) AddItem(item []byte, n int, flags AddFlags) (int, error) {
	off, n, err := p.AddSpace(len(item), n, flags)
	if err != nil {
		return 0, err
	}
	copy(p[off:], item)
	return n, nil
}

// AddSpace is AddItem without the copying: it gives the offset in the page at which size bytes are now
// the item's, for the caller to fill, and the line pointer's number.
func (p Page) AddSpace(size, n int, flags AddFlags) (off, num int, err error) {
	if err := p.checkPointers(); err != nil {
		return 0, 0, err
	}
	limit := p.MaxOffset() + 1
	shuffle := false
	switch {
	case n < 0 || n > limit:
		return 0, 0, fmt.Errorf("%w: item number %d leaves a gap behind %d", ErrBadPage, n, limit-1)
	case n == 0:
		n = p.freeLine(limit)
	case n < limit && flags&Overwrite != 0:
		if id := p.itemID(n); id.Used() || id.HasStorage() {
			return 0, 0, fmt.Errorf("%w: line pointer %d is in use", ErrBadPage, n)
		}
	case n < limit:
		shuffle = true
	}
	if flags&Heap != 0 && n > MaxHeapTuples {
		return 0, 0, fmt.Errorf("%w: item number %d on a heap page", ErrBadPage, n)
	}
	lower := p.Lower()
	if n == limit || shuffle {
		lower += ItemIDSize
	}
	upper := p.Upper() - Align(size)
	if size < 0 || size > pg.BlockSize || lower > upper {
		return 0, 0, fmt.Errorf("%w: item of %d bytes, free %d", ErrNoRoom, size, p.FreeSpace())
	}
	if shuffle {
		copy(p[linp(n+1):linp(limit+1)], p[linp(n):linp(limit)])
	}
	p.setItemID(n, NewItemID(upper, Normal, size))
	p.setU16(offLower, lower)
	p.setU16(offUpper, upper)
	return upper, n, nil
}

// freeLine finds the first unused line pointer, or limit; a hint that proves wrong is taken back.
func (p Page) freeLine(limit int) int {
	if p.Flags()&HasFreeLines == 0 {
		return limit
	}
	for n := 1; n < limit; n++ {
		if id := p.itemID(n); !id.Used() && !id.HasStorage() {
			return n
		}
	}
	p.ClearFlag(HasFreeLines)
	return limit
}
