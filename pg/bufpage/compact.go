package bufpage

import (
	"fmt"

	"github.com/stratapg/strata/pg"
)

// kept is an item that stays on the page while others go.
type kept struct {
	line uint16 // its line pointer's number
	off  uint16
	len  uint16 // rounded up to 8
}

// compact moves the items to the end of the page, in the order given from the end downwards. Line pointers
// must be in place. With presorted, offsets descend. The items lie within the page and their lengths fit
// between pd_lower and pd_special; the caller has checked that.
func (p Page) compact(items []kept, presorted bool) {
	src := p
	if !presorted {
		var scratch [pg.BlockSize]byte
		upper := p.Upper()
		copy(scratch[upper:], p[upper:])
		src = scratch[:]
	}
	upper := p.SpecialOffset()
	i := 0
	for ; i < len(items) && int(items[i].off)+int(items[i].len) == upper; i++ {
		upper = int(items[i].off)
	}
	// Items that lie next to each other in the page move together: [head, tail) waits to be moved.
	head, tail := 0, 0
	for ; i < len(items); i++ {
		off, end := int(items[i].off), int(items[i].off)+int(items[i].len)
		if end != head {
			copy(p[upper:], src[head:tail])
			tail = end
		}
		head = off
		upper -= int(items[i].len)
		n := int(items[i].line)
		id := p.itemID(n)
		p.setItemID(n, id&^0x7FFF|ItemID(upper))
	}
	copy(p[upper:], src[head:tail])
	p.setU16(offUpper, upper)
}

// RepairFragmentation closes the gaps that removed tuples left on a heap page, and keeps the hint about
// unused line pointers right (PageRepairFragmentation). With truncate, unused line pointers at the end go
// too, as servers from 15 on do. The page is unchanged after an error.
func (p Page) RepairFragmentation(truncate bool) error {
	if err := p.checkPointers(); err != nil {
		return err
	}
	var (
		items      [MaxHeapTuples]kept
		n          int
		unused     int
		lastUsed   int
		total      int
		lines      = p.MaxOffset()
		upper      = p.Upper()
		special    = p.SpecialOffset()
		lastOffset = special
		presorted  = true
	)
	for i := 1; i <= lines; i++ {
		id := p.itemID(i)
		if !id.Used() {
			unused++
			continue
		}
		lastUsed = i
		if !id.HasStorage() {
			continue
		}
		off, size := id.Offset(), Align(id.Len())
		if off < upper || off+size > special || n == len(items) {
			return fmt.Errorf("%w: line pointer %d is (%d,%d,%d)", ErrBadPage, i, off, id.Flags(), id.Len())
		}
		presorted = presorted && off < lastOffset
		lastOffset = min(lastOffset, off)
		items[n] = kept{uint16(i), uint16(off), uint16(size)}
		n++
		total += size
	}
	if total > special-p.Lower() {
		return fmt.Errorf("%w: items of %d bytes in %d", ErrBadPage, total, special-p.Lower())
	}
	p.clearUnused(lines)
	if n == 0 {
		p.setU16(offUpper, special)
	} else {
		p.compact(items[:n], presorted)
	}
	if truncate {
		unused -= lines - lastUsed
		p.setU16(offLower, p.Lower()-(lines-lastUsed)*ItemIDSize)
	}
	p.hintFreeLines(unused > 0)
	return nil
}

// clearUnused zeroes what unused line pointers may have left in offset and length.
func (p Page) clearUnused(lines int) {
	for i := 1; i <= lines; i++ {
		if !p.itemID(i).Used() {
			p.setItemID(i, 0)
		}
	}
}

func (p Page) hintFreeLines(on bool) {
	if on {
		p.SetFlag(HasFreeLines)
	} else {
		p.ClearFlag(HasFreeLines)
	}
}

// TruncateLines removes unused line pointers at the end of a heap page, all but the first one
// (PageTruncateLinePointerArray), and keeps the hint about unused ones right.
func (p Page) TruncateLines() error {
	if err := p.checkPointers(); err != nil {
		return err
	}
	last := p.MaxOffset()
	if last == 0 {
		p.hintFreeLines(false)
		return nil
	}
	for last > 1 && !p.itemID(last).Used() {
		last--
	}
	p.setU16(offLower, p.Lower()-(p.MaxOffset()-last)*ItemIDSize)
	free := false
	for i := 1; i <= last && !free; i++ {
		free = !p.itemID(i).Used()
	}
	p.hintFreeLines(free)
	return nil
}
