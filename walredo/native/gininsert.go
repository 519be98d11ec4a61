package native

import (
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// Flags in the main data of a GIN insertion (access/ginxlog.h).
const (
	ginInsertData = 0x01 // into a posting tree
	ginInsertLeaf = 0x02
)

// ginInsert adds to a page (block 0) of either tree; where that is an inner page, block 1 is the left child
// that was split. Main data: flags u16; for an inner page the block numbers of the children, high half first.
func ginInsert(c *change) error {
	const head, right, size = 2, 6, 10
	main, err := c.main(head)
	if err != nil {
		return err
	}
	flags := le.Uint16(main)
	leaf := flags&ginInsertLeaf != 0
	child := uint32(ginNone)
	if !leaf {
		if len(main) < size {
			return corrupt("main data of %d bytes, want %d", len(main), size)
		}
		child = uint32(le.Uint16(main[right:]))<<16 | uint32(le.Uint16(main[right+2:]))
	}
	switch {
	case c.blk.ID == 1 && !leaf:
		return ginClearIncomplete(c)
	case c.blk.ID != 0:
		return ginUnknownBlock(c)
	case flags&ginInsertData == 0:
		err = ginInsertEntry(c, leaf, child)
	case leaf:
		err = ginRecompress(c)
	default:
		err = ginInsertDownlink(c, child)
	}
	if err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// ginInsertEntry adds a tuple to a page of the entry tree. Block data: item number u16, whether the tuple
// that has it goes (u8), a byte unused, the tuple.
func ginInsertEntry(c *change, leaf bool, child uint32) error {
	const replace, tuple = 2, 4
	with, without := uint16(0), uint16(ginData|ginList|ginMeta)
	if leaf {
		with = ginLeaf
	} else {
		without |= ginLeaf
	}
	if _, err := ginPageOf(c.page, with, without); err != nil {
		return err
	}
	data := c.blk.Data
	if len(data) < tuple {
		return corrupt("%d bytes for a GIN entry", len(data))
	}
	n := int(le.Uint16(data))
	t, err := btTupleAt(data[tuple:])
	if err != nil {
		return err
	}
	if n == 0 {
		return corrupt("a GIN entry for item number 0")
	}
	if child != ginNone {
		old, err := btItem(c.page, n)
		if err != nil {
			return err
		}
		// The tuple that led to the page that was split leads to its right half now.
		old.setBlock(child)
		old.setItem(0)
	}
	if data[replace] != 0 {
		if !leaf {
			return corrupt("a GIN entry replaced on an inner page")
		}
		if err := c.page.IndexTupleDelete(n); err != nil {
			return err
		}
	}
	_, err = c.page.AddItem(t, n, 0)
	return err
}

// What a posting tree page holds: behind the header the page's right bound, a TID, and behind that in a
// leaf segments of packed TIDs, in an inner page downlinks: a block number, high half first, and a TID.
const (
	ginDataAt       = bufpage.HeaderSize + 8
	ginDataMax      = pg.BlockSize - ginOpaqueSize - ginDataAt
	ginDownlinkSize = 4 + tidSize
)

// ginSetDataSize makes pd_lower the end of so many bytes of segments or downlinks.
func ginSetDataSize(p bufpage.Page, n int) { p.SetLower(ginDataAt + n) }

// ginDownlinks gives an inner page's downlinks, with room for one more if that is to be had.
func ginDownlinks(p bufpage.Page) (o ginOpaque, links []byte, err error) {
	o, err = ginPageOf(p, ginData, ginLeaf)
	if err != nil {
		return nil, nil, err
	}
	if n := o.count(); n*ginDownlinkSize > ginDataMax {
		return nil, nil, corrupt("%d downlinks on a GIN page", n)
	}
	return o, p[ginDataAt : ginDataAt+ginDataMax], nil
}

// ginInsertDownlink adds a downlink to an inner page of a posting tree. Block data: item number u16, the
// downlink. The one that had the number leads to child from now on.
func ginInsertDownlink(c *change, child uint32) error {
	const size = 2 + ginDownlinkSize
	o, links, err := ginDownlinks(c.page)
	if err != nil {
		return err
	}
	data := c.blk.Data
	if len(data) < size {
		return corrupt("%d bytes for a GIN downlink, want %d", len(data), size)
	}
	n, count := int(le.Uint16(data)), o.count()
	if n < 1 || n > count {
		return corrupt("GIN downlink %d of %d", n, count)
	}
	if (count+1)*ginDownlinkSize > len(links) {
		return corrupt("no room for a GIN downlink beside %d", count)
	}
	at := (n - 1) * ginDownlinkSize
	le.PutUint16(links[at:], uint16(child>>16))
	le.PutUint16(links[at+2:], uint16(child))
	copy(links[at+ginDownlinkSize:], links[at:count*ginDownlinkSize])
	copy(links[at:], data[2:size])
	o.setCount(count + 1)
	ginSetDataSize(c.page, (count+1)*ginDownlinkSize)
	return nil
}

// ginRemoveDownlink removes downlink n from an inner page of a posting tree.
func ginRemoveDownlink(p bufpage.Page, n int) error {
	o, links, err := ginDownlinks(p)
	if err != nil {
		return err
	}
	count := o.count()
	if n < 1 || n > count {
		return corrupt("GIN downlink %d of %d", n, count)
	}
	copy(links[(n-1)*ginDownlinkSize:], links[n*ginDownlinkSize:count*ginDownlinkSize])
	o.setCount(count - 1)
	ginSetDataSize(p, (count-1)*ginDownlinkSize)
	return nil
}
