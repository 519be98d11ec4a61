package native

import (
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// Redo of BRIN records (access/brin_xlog.h, the same in versions 14 to 17). An index has a metapage, behind
// it the range map, which has for each range of heap blocks the TID of its summary, and regular pages with
// the summaries.

const (
	brinCreateIndex    = 0x00
	brinInsert         = 0x10
	brinUpdate         = 0x20
	brinSamePageUpdate = 0x30
	brinRevmapExtend   = 0x40
	brinDesummarize    = 0x50
	brinInitPage       = heapInitPage // with the insertion and the update: block 0 is made anew
)

func brinOps() *ops {
	o := new(ops)
	o.set(brinCreateIndex, brinCreateRedo)
	o.setInit(brinInsert, brinInsertRedo)
	o.setInit(brinUpdate, brinUpdateRedo)
	o.set(brinSamePageUpdate, brinSamePageRedo)
	o.set(brinRevmapExtend, brinExtendRedo)
	o.set(brinDesummarize, brinDesummarizeRedo)
	return o
}

// The special space of a BRIN page: three u16, of which the last has flags, and the page's type.
const (
	brinSpecialSize = 8
	brinTypeAt      = pg.BlockSize - 2

	brinMeta    = 0xF091
	brinRevmap  = 0xF092
	brinRegular = 0xF093
)

// The metapage's content, BrinMetaPageData.
const (
	brinMagic    = 0xA8109CFA
	brinVersion  = 4
	brinPerRange = 8
	brinLastMap  = 12
	brinMetaSize = 16
)

// brinMapItems is the number of TIDs on a page of the range map.
const brinMapItems = (pg.BlockSize - bufpage.HeaderSize - brinSpecialSize) / tidSize

// brinInit makes p an empty BRIN page.
func brinInit(p bufpage.Page, kind uint16) {
	p.Init(brinSpecialSize)
	le.PutUint16(p[brinTypeAt:], kind)
}

// brinPage checks that p is a page of the given type.
func brinPage(p bufpage.Page, kind uint16) error {
	if p.IsNew() || p.SpecialOffset() != pg.BlockSize-brinSpecialSize {
		return corrupt("the page is no BRIN page: its special space starts at %d", p.SpecialOffset())
	}
	if got := le.Uint16(p[brinTypeAt:]); got != kind {
		return corrupt("a BRIN page of type %04X, want %04X", got, kind)
	}
	return nil
}

func brinUnknownBlock(c *change) error {
	return corrupt("a BRIN record of type %02X has no use for block reference %d", c.rec.Info&opMask, c.blk.ID)
}

// brinCreateRedo makes the metapage. Main data: heap blocks per range u32, version u16.
func brinCreateRedo(c *change) error {
	const size = 6
	main, err := c.main(size)
	if err != nil {
		return err
	}
	if c.blk.ID != 0 {
		return brinUnknownBlock(c)
	}
	brinInit(c.page, brinMeta)
	m := c.page[bufpage.HeaderSize : bufpage.HeaderSize+brinMetaSize]
	le.PutUint32(m, brinMagic)
	le.PutUint32(m[brinVersion:], uint32(le.Uint16(main[4:])))
	copy(m[brinPerRange:], main[:4])
	c.page.SetLower(bufpage.HeaderSize + brinMetaSize)
	c.page.SetLSN(c.end)
	return nil
}

func brinInsertRedo(c *change) error { return brinAdd(c, 0) }

// brinUpdateRedo moves a summary from one page (block 2) to another: as an insertion, behind the old item
// number u16 and two bytes unused.
func brinUpdateRedo(c *change) error {
	const insertion = 4
	if c.blk.ID == 2 {
		main, err := c.main(insertion)
		if err != nil {
			return err
		}
		return brinRemove(c, int(le.Uint16(main)))
	}
	return brinAdd(c, insertion)
}

// brinRemove removes item n of a regular page, whose other items keep their numbers.
func brinRemove(c *change, n int) error {
	if err := brinPage(c.page, brinRegular); err != nil {
		return err
	}
	if err := c.page.IndexTupleDeleteNoCompact(n); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// brinAdd puts a summary on a regular page (block 0, whose data it is) and its TID into the range map
// (block 1). Main data from at: heap block u32, heap blocks per range u32, item number u16.
func brinAdd(c *change, at int) error {
	const size, perRange, number = 10, 4, 8
	main, err := c.main(at + size)
	if err != nil {
		return err
	}
	main = main[at:]
	n := int(le.Uint16(main[number:]))
	switch c.blk.ID {
	case 0:
		return brinAddItem(c, n)
	case 1:
		regular, err := c.block(0)
		if err != nil {
			return err
		}
		return brinSetMap(c, le.Uint32(main), le.Uint32(main[perRange:]), regular.Blkno, uint16(n))
	}
	return brinUnknownBlock(c)
}

func brinAddItem(c *change, n int) error {
	if c.rec.Info&brinInitPage != 0 {
		if !c.blk.WillInit {
			return corrupt("a BRIN page is made anew, and its block reference does not say so")
		}
		brinInit(c.page, brinRegular)
	}
	if err := brinPage(c.page, brinRegular); err != nil {
		return err
	}
	if n == 0 || len(c.blk.Data) == 0 {
		return corrupt("a BRIN summary of %d bytes for item number %d", len(c.blk.Data), n)
	}
	if _, err := c.page.AddItem(c.blk.Data, n, bufpage.Overwrite); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// brinSetMap writes a TID into a page of the range map.
func brinSetMap(c *change, heapBlock, perRange, block uint32, item uint16) error {
	if err := brinPage(c.page, brinRevmap); err != nil {
		return err
	}
	if perRange == 0 {
		return corrupt("a BRIN index of ranges without blocks")
	}
	at := bufpage.HeaderSize + tidSize*int(heapBlock/perRange%brinMapItems)
	le.PutUint16(c.page[at+tidBlockHigh:], uint16(block>>16))
	le.PutUint16(c.page[at+tidBlockLow:], uint16(block))
	le.PutUint16(c.page[at+tidItem:], item)
	c.page.SetLSN(c.end)
	return nil
}

// brinSamePageRedo replaces a summary on its page. Main data: item number u16.
func brinSamePageRedo(c *change) error {
	main, err := c.main(2)
	if err != nil {
		return err
	}
	if c.blk.ID != 0 {
		return brinUnknownBlock(c)
	}
	if err := brinPage(c.page, brinRegular); err != nil {
		return err
	}
	if err := c.page.IndexTupleOverwrite(int(le.Uint16(main)), c.blk.Data); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// brinExtendRedo makes one page more the range map's (block 1), which the metapage (block 0) says. Main
// data: the page's block number u32.
func brinExtendRedo(c *change) error {
	main, err := c.main(4)
	if err != nil {
		return err
	}
	switch c.blk.ID {
	case 0:
		if err := brinPage(c.page, brinMeta); err != nil {
			return err
		}
		copy(c.page[bufpage.HeaderSize+brinLastMap:], main[:4])
		// An index of a server before 11 may not have pd_lower behind the content.
		c.page.SetLower(bufpage.HeaderSize + brinMetaSize)
	case 1:
		brinInit(c.page, brinRevmap)
	default:
		return brinUnknownBlock(c)
	}
	c.page.SetLSN(c.end)
	return nil
}

// brinDesummarizeRedo removes the summary of a range from the range map (block 0) and from its regular page
// (block 1). Main data: heap blocks per range u32, heap block u32, item number u16.
func brinDesummarizeRedo(c *change) error {
	const size, heapBlock, number = 10, 4, 8
	main, err := c.main(size)
	if err != nil {
		return err
	}
	const noBlock, noItem = 0xFFFFFFFF, 0
	switch c.blk.ID {
	case 0:
		return brinSetMap(c, le.Uint32(main[heapBlock:]), le.Uint32(main), noBlock, noItem)
	case 1:
		return brinRemove(c, int(le.Uint16(main[number:])))
	}
	return brinUnknownBlock(c)
}
