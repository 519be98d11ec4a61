package native

import (
	"github.com/stratapg/strata/pg/bufpage"
)

// hashAddOverflow lengthens a bucket by an overflow page (block 0), behind the one that was last (block
// 1). Its bit is set on a bitmap page (block 2), or a new bitmap page is made (block 3), or neither; the
// metapage (block 4) keeps count. Data: bytes used of a bitmap page u16, a free page was found bool. Block
// data: bucket u32 (0), bit number u32 (2), first free bit u32 (4).
func hashAddOverflow(c *change) error {
	const size = 3
	main, err := c.main(size)
	if err != nil {
		return err
	}
	switch c.blk.ID {
	case 0:
		left, err := c.block(1)
		if err != nil {
			return err
		}
		if len(c.blk.Data) < 4 {
			return corrupt("%d bytes of bucket number", len(c.blk.Data))
		}
		hashInit(c.page, left.Blkno, le.Uint32(c.blk.Data), hashOverflowPage)
		return hashDone(c)
	case 1:
		added, err := c.block(0)
		if err != nil {
			return err
		}
		return hashLink(c, hashNext, added.Blkno)
	case 2:
		return hashSetBit(c, true)
	case 3:
		return hashMakeBitmap(c, int(le.Uint16(main)))
	case 4:
		return hashCountOverflow(c, main[2] != 0)
	}
	return noBlock(c)
}

// hashCountOverflow counts an overflow page, and the bitmap page made with it, on the metapage, unless the
// page was there before.
func hashCountOverflow(c *change, found bool) error {
	m, err := hashSetFirstFree(c)
	if err != nil {
		return err
	}
	if found {
		return hashDone(c)
	}
	point, ok := m.point()
	if !ok {
		return corrupt("the metapage is at split point %d", point)
	}
	pages := uint32(1)
	if b := c.rec.Block(3); b != nil {
		if err := m.addMap(b.Blkno); err != nil {
			return err
		}
		pages++
	}
	m.setSpares(point, m.spares(point)+pages)
	return hashDone(c)
}

// hashLink sets one of the links in a page's special space.
func hashLink(c *change, field int, block uint32) error {
	o, err := hashPage(c)
	if err != nil {
		return err
	}
	le.PutUint32(o[field:], block)
	return hashDone(c)
}

// hashSplitAllocate begins the split of a bucket (block 0) into itself and a new one (block 1), which the
// metapage counts (block 2). Data: new bucket u32, flags of the old and the new bucket u16, what else
// changes on the metapage u8. Data of block 2: low and high mask u32; split point and its overflow pages
// u32; each only if it changes.
//
// PostgreSQL sets the old bucket's flags and its link even where it restored the page from an image. The
// server made the image after the change, so that it has them.
func hashSplitAllocate(c *change) error {
	const size = 9
	main, err := c.main(size)
	if err != nil {
		return err
	}
	bucket := le.Uint32(main)
	switch c.blk.ID {
	case 0:
		o, err := hashPage(c)
		if err != nil {
			return err
		}
		o.setFlags(le.Uint16(main[4:]))
		o.setPrev(bucket)
	case 1:
		hashInit(c.page, bucket, bucket, le.Uint16(main[6:]))
	case 2:
		return hashGrow(c, bucket, main[8])
	default:
		return noBlock(c)
	}
	return hashDone(c)
}

// hashGrow counts a new bucket on the metapage.
func hashGrow(c *change, bucket uint32, flags uint8) error {
	const newMasks, newPoint = 1 << 0, 1 << 1
	m, err := hashMeta(c)
	if err != nil {
		return err
	}
	m.set32(hmMaxBucket, bucket)
	data := c.blk.Data
	var pair []byte
	if flags&newMasks != 0 {
		if pair, data, err = take(data, 8, "masks"); err != nil {
			return err
		}
		m.set32(hmLowMask, le.Uint32(pair))
		m.set32(hmHighMask, le.Uint32(pair[4:]))
	}
	if flags&newPoint != 0 {
		if pair, _, err = take(data, 8, "split point"); err != nil {
			return err
		}
		point := le.Uint32(pair)
		if point >= hmMaxPoints {
			return corrupt("split point %d", point)
		}
		m.setSpares(point, le.Uint32(pair[4:]))
		m.set32(hmPoint, point)
	}
	return hashDone(c)
}

// hashSplitPage is reached only without the image that a record of this type consists of.
func hashSplitPage(*change) error { return corrupt("the page of a hash split has no image") }

// hashSplitComplete ends a split: both buckets (blocks 0 and 1) get their flags. Data: those, u16 each.
// As in hashSplitAllocate, an image has them already.
func hashSplitComplete(c *change) error {
	const size = 4
	main, err := c.main(size)
	if err != nil {
		return err
	}
	if c.blk.ID > 1 {
		return noBlock(c)
	}
	o, err := hashPage(c)
	if err != nil {
		return err
	}
	o.setFlags(le.Uint16(main[2*c.blk.ID:]))
	return hashDone(c)
}

// hashSplitCleanup notes that the tuples which a split copied are gone from the old bucket.
func hashSplitCleanup(c *change) error {
	if c.blk.ID != 0 {
		return noBlock(c)
	}
	o, err := hashPage(c)
	if err != nil {
		return err
	}
	o.setFlags(o.flags() &^ hashNeedsCleanup)
	return hashDone(c)
}

// hashMoveContents moves tuples within a bucket to a page nearer its front (block 1) from one behind it
// (block 2). Block 0, the bucket's first page, is named for its lock alone. Data: number of tuples u16,
// block 1 is the bucket's first page bool. Block data: as in hashAddTuples (1), item numbers (2).
func hashMoveContents(c *change) error {
	const size = 3
	main, err := c.main(size)
	if err != nil {
		return err
	}
	if c.blk.ID == 0 {
		return nil
	}
	if _, err := hashPage(c); err != nil {
		return err
	}
	switch c.blk.ID {
	case 1:
		err = hashAddTuples(c.page, number16(main, 0), c.blk.Data)
	case 2:
		err = deleteItems(c.page, c.blk.Data)
	default:
		err = noBlock(c)
	}
	if err != nil {
		return err
	}
	return hashDone(c)
}

// hashAddTuples adds n tuples. Data: their item numbers u16, then the tuples.
func hashAddTuples(p bufpage.Page, n int, data []byte) error {
	if n == 0 {
		return nil
	}
	numbers, tuples, err := take(data, 2*n, "item numbers")
	if err != nil {
		return err
	}
	for i := range n {
		size, err := tupleSize(tuples)
		if err != nil {
			return err
		}
		var tuple []byte
		if tuple, tuples, err = take(tuples, bufpage.Align(size), "tuple"); err != nil {
			return err
		}
		if err := addItemAt(p, tuple, number16(numbers, i)); err != nil {
			return err
		}
	}
	if len(tuples) > 0 {
		return corrupt("%d bytes behind %d tuples", len(tuples), n)
	}
	return nil
}

// hashSqueezing is xl_hash_squeeze_page.
type hashSqueezing struct {
	prev, next uint32 // neighbors of the page freed
	tuples     int    // tuples moved out of it
	toPrev     bool   // they moved to the neighbor before it
}

// hashSqueeze frees an overflow page (block 2), whose last tuples go to a page nearer the front (block 1).
// The neighbors before (block 3, unless it is block 1) and behind (block 4) are joined; the bitmap page
// (block 5) and the metapage (block 6, if it changes) take note. Block 0 is named for its lock alone.
// Data: neighbors u32, number of tuples u16, block 1 is the bucket's first page bool, block 1 is the
// neighbor before bool. Block data: as in hashAddTuples (1), bit number u32 (5), first free bit u32 (6).
func hashSqueeze(c *change) error { return hashSqueezeBlock(c, false) }

// hashSqueeze16 is hashSqueeze before version 17: block 1 gets the record's LSN even if nothing changes.
func hashSqueeze16(c *change) error { return hashSqueezeBlock(c, true) }

func hashSqueezeBlock(c *change, always bool) error {
	const size = 12
	main, err := c.main(size)
	if err != nil {
		return err
	}
	s := hashSqueezing{
		prev: le.Uint32(main), next: le.Uint32(main[4:]),
		tuples: int(le.Uint16(main[8:])), toPrev: main[11] != 0,
	}
	switch c.blk.ID {
	case 0:
		return nil
	case 1:
		return hashSqueezeInto(c, s, always)
	case 2:
		if _, err := hashPage(c); err != nil {
			return err
		}
		hashInit(c.page, hashNone, hashNone, hashUnusedPage)
		return hashDone(c)
	case 3:
		if s.toPrev {
			return noBlock(c)
		}
		return hashLink(c, hashNext, s.next)
	case 4:
		return hashLink(c, hashPrev, s.prev)
	case 5:
		return hashSetBit(c, false)
	case 6:
		if _, err := hashSetFirstFree(c); err != nil {
			return err
		}
		return hashDone(c)
	}
	return noBlock(c)
}

func hashSqueezeInto(c *change, s hashSqueezing, always bool) error {
	o, err := hashPage(c)
	if err != nil {
		return err
	}
	if err := hashAddTuples(c.page, s.tuples, c.blk.Data); err != nil {
		return err
	}
	if s.toPrev {
		o.setNext(s.next)
	}
	if s.tuples > 0 || s.toPrev || always {
		c.page.SetLSN(c.end)
	}
	return nil
}
