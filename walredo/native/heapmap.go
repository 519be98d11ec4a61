package native

import (
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// The visibility map has two bits for each heap page (access/visibilitymap.c).
const (
	mapAllVisible = 0x01
	mapAllFrozen  = 0x02
	mapValid      = mapAllVisible | mapAllFrozen

	mapBits       = 2
	mapPerByte    = 8 / mapBits
	mapBytes      = pg.BlockSize - bufpage.HeaderSize
	mapHeapBlocks = mapBytes * mapPerByte // heap pages on one map page
)

// mapBlock is the block of the map that has the bits of a heap page.
func mapBlock(heap uint32) uint32 { return heap / mapHeapBlocks }

// mapPlace finds a heap page's bits: the byte on the map page and the shift in it.
func (c *change) mapPlace(heap uint32) (at int, shift uint, err error) {
	if mapBlock(heap) != c.blkno {
		return 0, 0, corrupt("heap block %d belongs to map block %d", heap, mapBlock(heap))
	}
	return bufpage.HeaderSize + int(heap%mapHeapBlocks/mapPerByte), uint(heap%mapPerByte) * mapBits, nil
}

// clearMap clears bits of a heap page on the map page at work. pd_lsn is set only if any was on.
func (c *change) clearMap(heap uint32, bits uint8) error {
	at, shift, err := c.mapPlace(heap)
	if err != nil {
		return err
	}
	if c.page[at]&(bits<<shift) != 0 {
		c.page[at] &^= bits << shift
		c.page.SetLSN(c.end)
	}
	return nil
}

// clearMapOf clears bits of the heap page that block reference id names, if the record says so.
func (c *change) clearMapOf(id uint8, cleared bool, bits uint8) error {
	if !cleared {
		return nil
	}
	b, err := c.block(id)
	if err != nil {
		return err
	}
	return c.clearMap(b.Blkno, bits)
}

// Block references of VISIBLE records.
const (
	visibleMap  = 0
	visibleHeap = 1
)

// visibleRedo: horizon u32, flags u8. On the heap page it sets the flag; on the map page the bits.
func visibleRedo(c *change) error {
	main, err := c.main(5)
	if err != nil {
		return err
	}
	heap, err := c.block(visibleHeap)
	if err != nil {
		return err
	}
	if c.blk.ID != visibleMap {
		c.page.SetFlag(bufpage.AllVisible)
		if c.checksums {
			c.page.SetLSN(c.end)
		}
		return nil
	}
	if c.page.IsNew() {
		c.page.Init(0)
	}
	at, shift, err := c.mapPlace(heap.Blkno)
	if err != nil {
		return err
	}
	bits := main[4] & mapValid
	if c.page[at]>>shift&mapValid != bits {
		c.page[at] |= bits << shift
		c.page.SetLSN(c.end)
	}
	return nil
}
