package bufpage

import (
	"fmt"

	"github.com/stratapg/strata/pg"
)

// indexItem checks line pointer n as the index operations do and gives its offset and length.
func (p Page) indexItem(n int) (off, size int, err error) {
	if err := p.checkPointers(); err != nil {
		return 0, 0, err
	}
	if n < 1 || n > p.MaxOffset() {
		return 0, 0, fmt.Errorf("%w: no line pointer %d of %d", ErrBadPage, n, p.MaxOffset())
	}
	id := p.itemID(n)
	off, size = id.Offset(), id.Len()
	if !p.insideItems(off, size) || off != Align(off) {
		return 0, 0, fmt.Errorf("%w: line pointer %d is (%d,%d,%d)", ErrBadPage, n, off, id.Flags(), size)
	}
	return off, size, nil
}

// insideItems reports whether an item lies in the item space with its padding.
func (p Page) insideItems(off, size int) bool {
	return size > 0 && off >= p.Upper() && off+Align(size) <= p.SpecialOffset()
}

// shift moves the items below offset end up by n bytes (down if negative), and their line pointers with
// them: those at or below end. Item numbers above lines are left alone.
func (p Page) shift(end, n int) {
	upper := p.Upper()
	copy(p[upper+n:end+n], p[upper:end])
	p.setU16(offUpper, upper+n)
	for i, lines := 1, p.MaxOffset(); i <= lines; i++ {
		if id := p.itemID(i); id.HasStorage() && id.Offset() <= end {
			p.setItemID(i, id&^0x7FFF|ItemID(id.Offset()+n)&0x7FFF)
		}
	}
}

// IndexTupleDelete removes item n and its line pointer (PageIndexTupleDelete).
func (p Page) IndexTupleDelete(n int) error {
	off, size, err := p.indexItem(n)
	if err != nil {
		return err
	}
	lower := p.Lower()
	copy(p[linp(n):], p[linp(n+1):max(lower, linp(n+1))])
	p.setU16(offLower, lower-ItemIDSize)
	p.shift(off, Align(size))
	return nil
}

// IndexTupleDeleteNoCompact removes item n but keeps its line pointer, unused, unless it is the last
// (PageIndexTupleDeleteNoCompact).
func (p Page) IndexTupleDeleteNoCompact(n int) error {
	off, size, err := p.indexItem(n)
	if err != nil {
		return err
	}
	if n < p.MaxOffset() {
		p.setItemID(n, 0)
	} else {
		p.setU16(offLower, p.Lower()-ItemIDSize)
	}
	p.shift(off, Align(size))
	return nil
}

// IndexTupleOverwrite puts another tuple in the place of item n (PageIndexTupleOverwrite). The flags of
// the line pointer stay.
func (p Page) IndexTupleOverwrite(n int, tuple []byte) error {
	off, size, err := p.indexItem(n)
	if err != nil {
		return err
	}
	diff := Align(size) - Align(len(tuple))
	if len(tuple) == 0 || -diff > p.FreeSpace() {
		return fmt.Errorf("%w: tuple of %d bytes for one of %d, free %d", ErrNoRoom, len(tuple), size, p.FreeSpace())
	}
	if diff != 0 {
		p.shift(off, diff)
	}
	p.setItemID(n, NewItemID(off+diff, p.itemID(n).Flags(), len(tuple)))
	copy(p[off+diff:], tuple)
	return nil
}

// IndexMultiDelete removes the items with the given numbers, which ascend (PageIndexMultiDelete). The page
// is unchanged after an error, except that of two numbers the higher may be gone.
func (p Page) IndexMultiDelete(numbers []uint16) error {
	// PostgreSQL takes the same two ways; what they leave in the unused space differs.
	if len(numbers) <= 2 {
		for i := len(numbers) - 1; i >= 0; i-- {
			if err := p.IndexTupleDelete(int(numbers[i])); err != nil {
				return err
			}
		}
		return nil
	}
	if err := p.checkPointers(); err != nil {
		return err
	}
	var (
		items      [MaxIndexTuples]kept
		ids        [MaxIndexTuples]ItemID
		n, total   int
		next       int
		special    = p.SpecialOffset()
		lastOffset = special
		presorted  = true
	)
	for i, lines := 1, p.MaxOffset(); i <= lines; i++ {
		id := p.itemID(i)
		off, size := id.Offset(), Align(id.Len())
		if !p.insideItems(off, id.Len()) || off != Align(off) || n == len(items) {
			return fmt.Errorf("%w: line pointer %d is (%d,%d,%d)", ErrBadPage, i, off, id.Flags(), id.Len())
		}
		if next < len(numbers) && i == int(numbers[next]) {
			next++
			continue
		}
		presorted = presorted && off < lastOffset
		lastOffset = min(lastOffset, off)
		items[n] = kept{uint16(n + 1), uint16(off), uint16(size)}
		ids[n] = id
		n++
		total += size
	}
	if next != len(numbers) {
		return fmt.Errorf("%w: item numbers to delete are not ascending or not there", ErrBadPage)
	}
	if total > special-p.Lower() {
		return fmt.Errorf("%w: items of %d bytes in %d", ErrBadPage, total, special-p.Lower())
	}
	for i := range n {
		p.setItemID(i+1, ids[i])
	}
	p.setU16(offLower, HeaderSize+n*ItemIDSize)
	if n == 0 {
		p.setU16(offUpper, special)
		return nil
	}
	p.compact(items[:n], presorted)
	return nil
}

// InitLike makes p an empty page with o's special space (PageGetTempPageCopySpecial).
func (p Page) InitLike(o Page) error {
	if err := o.checkPointers(); err != nil {
		return err
	}
	s := o.SpecialOffset()
	p.Init(pg.BlockSize - s)
	copy(p[s:], o[s:])
	return nil
}
