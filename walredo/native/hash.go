package native

import (
	"math"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// Redo of hash indexes (access/hash_xlog.h). Block 0 of an index is the metapage; buckets are chains of a
// bucket page and overflow pages, and bitmap pages say which overflow pages are free.

// hashOps gives the functions of a version. From 17 on, a squeeze that moves nothing leaves the page that
// it would have moved to as it is.
func hashOps(v pg.Version) *ops {
	o := &ops{
		0x0: hashInitMeta,
		0x1: hashInitBitmap,
		0x2: hashInsert,
		0x3: hashAddOverflow,
		0x4: hashSplitAllocate,
		0x5: hashSplitPage,
		0x6: hashSplitComplete,
		0x7: hashMoveContents,
		0x8: hashSqueeze,
		0x9: hashDelete,
		0xA: hashSplitCleanup,
		0xB: hashUpdateMeta,
		0xC: hashVacuumPage,
	}
	if v <= pg.V16 {
		o.set(0x80, hashSqueeze16)
	}
	return o
}

// The special space of a hash page, HashPageOpaqueData (access/hash.h).
const (
	hashPrev       = 0  // u32 page before in the bucket; on a bucket's first page a number of buckets
	hashNext       = 4  // u32 page behind in the bucket
	hashBucket     = 8  // u32 bucket that the page belongs to
	hashFlags      = 12 // u16
	hashMark       = 14 // u16
	hashOpaqueSize = 16

	hashPageID = 0xFF80
	hashNone   = math.MaxUint32 // InvalidBlockNumber, InvalidBucket
)

// Flags of a hash page: its type, and what else there is to know.
const (
	hashUnusedPage   = 0
	hashOverflowPage = 1 << 0
	hashBitmapPage   = 1 << 2
	hashMetaPage     = 1 << 3
	hashTypes        = 0x0F
	hashNeedsCleanup = 1 << 6
	hashHasDead      = 1 << 7
)

// hashOpaque is the special space of a hash page.
type hashOpaque []byte

func (o hashOpaque) flags() uint16     { return le.Uint16(o[hashFlags:]) }
func (o hashOpaque) setFlags(f uint16) { le.PutUint16(o[hashFlags:], f) }
func (o hashOpaque) setPrev(b uint32)  { le.PutUint32(o[hashPrev:], b) }
func (o hashOpaque) setNext(b uint32)  { le.PutUint32(o[hashNext:], b) }

// hashPage gives the special space of the page at work.
func hashPage(c *change) (hashOpaque, error) {
	return specialOf(c.page, hashOpaqueSize, hashPageID, "hash")
}

// hashInit makes an empty hash page.
func hashInit(p bufpage.Page, prev, bucket uint32, flags uint16) {
	p.Init(hashOpaqueSize)
	o := hashOpaque(p[pg.BlockSize-hashOpaqueSize:])
	o.setPrev(prev)
	o.setNext(hashNone)
	le.PutUint32(o[hashBucket:], bucket)
	o.setFlags(flags)
	le.PutUint16(o[hashMark:], hashPageID)
}

// hashDone ends redo of a hash page that was changed.
func hashDone(c *change) error {
	c.page.SetLSN(c.end)
	return nil
}

// hashInsert adds an index tuple (block 0) and counts it (block 1). Data: item number u16.
func hashInsert(c *change) error {
	const size = 2
	main, err := c.main(size)
	if err != nil {
		return err
	}
	switch c.blk.ID {
	case 0:
		if _, err := hashPage(c); err != nil {
			return err
		}
		if err := addItemAt(c.page, c.blk.Data, number16(main, 0)); err != nil {
			return err
		}
	case 1:
		m, err := hashMeta(c)
		if err != nil {
			return err
		}
		m.setTuples(m.tuples() + 1)
	default:
		return noBlock(c)
	}
	return hashDone(c)
}

// hashDelete removes what VACUUM found (block 1) from a bucket, whose first page is named for its lock
// alone (block 0). Data: clear the flag of dead tuples bool, the bucket's own page bool. Block data: item
// numbers.
func hashDelete(c *change) error {
	const size = 2
	main, err := c.main(size)
	if err != nil {
		return err
	}
	if c.blk.ID == 0 {
		return nil
	}
	if c.blk.ID != 1 {
		return noBlock(c)
	}
	o, err := hashPage(c)
	if err != nil {
		return err
	}
	if err := deleteItems(c.page, c.blk.Data); err != nil {
		return err
	}
	if main[0] != 0 {
		o.setFlags(o.flags() &^ hashHasDead)
	}
	return hashDone(c)
}

// hashVacuumPage removes tuples known dead from a page that an insertion needs room on (block 0), and
// their number from the count (block 1). Data: xid u32; number of tuples, u32 before version 16 and u16
// and a flag since; their item numbers u16.
func hashVacuumPage(c *change) error {
	const size = 8
	main, err := c.main(size)
	if err != nil {
		return err
	}
	n := int(le.Uint16(main[4:]))
	if c.version <= pg.V15 {
		n = int(min(le.Uint32(main[4:]), math.MaxUint16))
	}
	numbers, _, err := take(main[size:], 2*n, "item numbers")
	if err != nil {
		return err
	}
	switch c.blk.ID {
	case 0:
		o, err := hashPage(c)
		if err != nil {
			return err
		}
		if err := deleteItems(c.page, numbers); err != nil {
			return err
		}
		o.setFlags(o.flags() &^ hashHasDead)
	case 1:
		m, err := hashMeta(c)
		if err != nil {
			return err
		}
		m.setTuples(m.tuples() - float64(n))
	default:
		return noBlock(c)
	}
	return hashDone(c)
}
