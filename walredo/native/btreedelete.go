package native

import (
	"encoding/binary"

	"github.com/stratapg/strata/pg/bufpage"
)

// btreeVacuum and btreeDelete remove tuples from a leaf, and TIDs from posting lists. Data of VACUUM:
// number of tuples to remove u16, of tuples to shorten u16; DELETE has an xid before them and, from 16 on,
// a flag behind. Block data: item numbers to remove, item numbers to shorten, then for each of the latter
// a count u16 and so many places in its posting list u16.
func btreeVacuum(c *change) error { return btRemove(c, 0) }

func btreeDelete(c *change) error {
	const xidSize = 4
	return btRemove(c, xidSize)
}

func btRemove(c *change, countsAt int) error {
	main, err := btMain(c, countsAt+4)
	if err != nil {
		return err
	}
	if c.blk.ID != 0 {
		return btUnknownBlock(c)
	}
	o, err := btPage(c.page)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	deleted, updated := int(le.Uint16(main[countsAt:])), int(le.Uint16(main[countsAt+2:]))
	data := c.blk.Data
	if len(data) < 2*(deleted+updated) || deleted > bufpage.MaxIndexTuples {
		return btCorrupt("%d bytes of item numbers for %d and %d tuples", len(data), deleted, updated)
	}
	var numbers [bufpage.MaxIndexTuples]uint16
	for i := range deleted {
		numbers[i] = le.Uint16(data[2*i:])
	}
	if err := btShorten(c.page, data[2*deleted:2*(deleted+updated)], data[2*(deleted+updated):]); err != nil {
		return err
	}
	if deleted > 0 {
		if err := c.page.IndexMultiDelete(numbers[:deleted]); err != nil {
			return btBad(err)
		}
	}
	o.setFlags(o.flags() &^ btHasGarbage)
	c.page.SetLSN(c.end)
	return nil
}

// btShorten takes TIDs out of the posting lists of the given items.
func btShorten(p bufpage.Page, numbers, updates []byte) error {
	le := binary.LittleEndian
	for ; len(numbers) > 0; numbers = numbers[2:] {
		if len(updates) < 2 {
			return btCorrupt("posting list update cut short")
		}
		n := int(le.Uint16(updates))
		updates = updates[2:]
		if len(updates) < 2*n {
			return btCorrupt("posting list update of %d TIDs in %d bytes", n, len(updates))
		}
		if err := btShortenItem(p, int(le.Uint16(numbers)), updates[:2*n]); err != nil {
			return err
		}
		updates = updates[2*n:]
	}
	return nil
}

func btShortenItem(p bufpage.Page, item int, places []byte) error {
	t, err := btItem(p, item)
	if err != nil {
		return err
	}
	if !t.isPosting() {
		return btCorrupt("item %d is no posting list", item)
	}
	key, tids, err := t.tids()
	if err != nil {
		return err
	}
	var left [tupSizeMask]byte
	kept := left[:0]
	for i := 0; i*tidSize < len(tids); i++ {
		if len(places) > 0 && int(binary.LittleEndian.Uint16(places)) == i {
			places = places[2:]
			continue
		}
		kept = append(kept, tids[i*tidSize:(i+1)*tidSize]...)
	}
	if len(places) > 0 || len(kept) == 0 {
		return btCorrupt("TIDs to remove from item %d are not all there, or are all there is", item)
	}
	var buf [tupSizeMask + 1]byte
	short, err := btFormTuple(&buf, t, key, kept)
	if err != nil {
		return err
	}
	return btBad(p.IndexTupleOverwrite(item, short))
}

// btreeMarkHalfDead takes an empty leaf (block 0) out of its parent (block 1), whose downlink to it now
// points to the right sibling. Data: item number in the parent u16, padding u16, leaf, left sibling, right
// sibling, top parent u32.
func btreeMarkHalfDead(c *change) error {
	const size = 20
	main, err := btMain(c, size)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	switch c.blk.ID {
	case 0:
		return btHalfDeadLeaf(c, le.Uint32(main[8:]), le.Uint32(main[12:]), le.Uint32(main[16:]))
	case 1:
		return btDropDownlink(c, int(le.Uint16(main)))
	}
	return btUnknownBlock(c)
}

// btDropDownlink removes a child: its downlink's key stays, with the child to the right behind it, and
// that child's own downlink goes.
func btDropDownlink(c *change, n int) error {
	if _, err := btPage(c.page); err != nil {
		return err
	}
	right, err := btItem(c.page, n+1)
	if err != nil {
		return err
	}
	down, err := btItem(c.page, n)
	if err != nil {
		return err
	}
	down.setBlock(right.block())
	if err := c.page.IndexTupleDelete(n + 1); err != nil {
		return btBad(err)
	}
	c.page.SetLSN(c.end)
	return nil
}

// btHalfDeadLeaf writes a leaf that waits for its deletion: nothing but a high key that names the topmost
// page to be deleted with it.
func btHalfDeadLeaf(c *change, prev, next, top uint32) error {
	o := btInit(c.page)
	o.setPrev(prev)
	o.setNext(next)
	o.setFlags(btHalfDead | btLeaf)
	var buf [tupHeader]byte
	t := btTuple(buf[:])
	t.setInfo(len(t), true)
	t.setBlock(top)
	if err := btAdd(c.page, t, btHighKey); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// btreeUnlinkPage deletes a page (block 0): its left sibling (block 1, if any) and its right one (block 2)
// are joined; the half-dead leaf below (block 3, if any) learns the next page to be deleted; the metapage
// (block 4, with UNLINK_PAGE_META) gets a new fast root. Data: left sibling, right sibling, level u32,
// padding u32, safe xid u64, the leaf's left sibling, right sibling and top parent u32.
func btreeUnlinkPage(c *change) error {
	const size = 36
	main, err := btMain(c, size)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	left, right := le.Uint32(main), le.Uint32(main[4:])
	switch c.blk.ID {
	case 0:
		o := btInit(c.page)
		o.setPrev(left)
		o.setNext(right)
		level := le.Uint32(main[8:])
		o.setLevel(level)
		flags := uint16(btDeleted | btHasFullXid)
		if level == 0 {
			flags |= btLeaf
		}
		o.setFlags(flags)
		copy(c.page[bufpage.HeaderSize:], main[16:24])
		c.page.SetLower(bufpage.HeaderSize + 8)
		c.page.SetUpper(c.page.SpecialOffset())
	case 1, 2:
		o, err := btPage(c.page)
		if err != nil {
			return err
		}
		if c.blk.ID == 1 {
			o.setNext(right)
		} else {
			o.setPrev(left)
		}
	case 3:
		return btHalfDeadLeaf(c, le.Uint32(main[24:]), le.Uint32(main[28:]), le.Uint32(main[32:]))
	case 4:
		return btRestoreMeta(c)
	default:
		return btUnknownBlock(c)
	}
	c.page.SetLSN(c.end)
	return nil
}
