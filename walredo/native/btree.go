package native

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/walredo"
)

// Redo of btree records (access/nbtxlog.h, the same in versions 14 to 17). PostgreSQL redoes all blocks of
// a record together; here each is redone from the record and its own page alone, which suffices for every
// btree record: what a block needs of another is in the record.

// btreeOps holds the functions by the high four bits of a record's info.
var btreeOps = [16]applyFunc{
	0x0: btreeInsertLeaf,
	0x1: btreeInsertUpper,
	0x2: btreeInsertMeta,
	0x3: btreeSplitL,
	0x4: btreeSplitR,
	0x5: btreeInsertPosting,
	0x6: btreeDedup,
	0x7: btreeDelete,
	0x8: btreeUnlinkPage, // UNLINK_PAGE
	0x9: btreeUnlinkPage, // UNLINK_PAGE_META
	0xA: btreeNewRoot,
	0xB: btreeMarkHalfDead,
	0xC: btreeVacuum,
	// 0xD is REUSE_PAGE, which has no blocks.
	0xE: btreeMetaCleanup,
}

// The special space of a btree page, BTPageOpaqueData (access/nbtree.h).
const (
	btPrev       = 0  // u32 left sibling
	btNext       = 4  // u32 right sibling
	btLevel      = 8  // u32 height above the leaves
	btFlags      = 12 // u16
	btCycle      = 14 // u16 vacuum cycle
	btOpaqueSize = 16

	// btNone is P_NONE, no sibling: block 0 is the metapage and nobody's sibling.
	btNone = 0
)

// Flags of a btree page.
const (
	btLeaf            = 1 << 0
	btRoot            = 1 << 1
	btDeleted         = 1 << 2
	btMeta            = 1 << 3
	btHalfDead        = 1 << 4
	btHasGarbage      = 1 << 6
	btIncompleteSplit = 1 << 7
	btHasFullXid      = 1 << 8
)

// btHighKey is the item number of the high key, on pages that have a right sibling.
const btHighKey = 1

// btOpaque is the special space of a btree page.
type btOpaque []byte

func (o btOpaque) next() uint32      { return binary.LittleEndian.Uint32(o[btNext:]) }
func (o btOpaque) setPrev(b uint32)  { binary.LittleEndian.PutUint32(o[btPrev:], b) }
func (o btOpaque) setNext(b uint32)  { binary.LittleEndian.PutUint32(o[btNext:], b) }
func (o btOpaque) setLevel(l uint32) { binary.LittleEndian.PutUint32(o[btLevel:], l) }
func (o btOpaque) flags() uint16     { return binary.LittleEndian.Uint16(o[btFlags:]) }
func (o btOpaque) setFlags(f uint16) { binary.LittleEndian.PutUint16(o[btFlags:], f) }
func (o btOpaque) clearCycle()       { binary.LittleEndian.PutUint16(o[btCycle:], 0) }

// firstData is the number of the first item that is not the high key (P_FIRSTDATAKEY).
func (o btOpaque) firstData() int {
	if o.next() == btNone {
		return btHighKey
	}
	return btHighKey + 1
}

// btPage gives the special space of an initialized btree page.
func btPage(p bufpage.Page) (btOpaque, error) {
	if p.IsNew() || p.SpecialOffset() != pg.BlockSize-btOpaqueSize {
		return nil, btCorrupt("the page is no btree page: its special space starts at %d", p.SpecialOffset())
	}
	return btOpaque(p[pg.BlockSize-btOpaqueSize:]), nil
}

// btInit makes p an empty btree page.
func btInit(p bufpage.Page) btOpaque {
	p.Init(btOpaqueSize)
	return btOpaque(p[pg.BlockSize-btOpaqueSize:])
}

func btCorrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{walredo.ErrCorrupt}, args...)...)
}

// btBad marks an error of a page operation: the record does not fit.
func btBad(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", walredo.ErrCorrupt, err)
}

// btMain gives the record's own data, checked to have at least size bytes.
func btMain(c *change, size int) ([]byte, error) {
	if len(c.rec.Main) < size {
		return nil, btCorrupt("%d bytes of record data, want %d", len(c.rec.Main), size)
	}
	return c.rec.Main, nil
}

func btUnknownBlock(c *change) error {
	return btCorrupt("a btree record of type %02X has no block reference %d", c.rec.Info&0xF0, c.blk.ID)
}

// btClearIncomplete takes note that the page's right sibling has its downlink now.
func btClearIncomplete(c *change) error {
	o, err := btPage(c.page)
	if err != nil {
		return err
	}
	o.setFlags(o.flags() &^ btIncompleteSplit)
	c.page.SetLSN(c.end)
	return nil
}

// The metapage, BTMetaPageData, behind the page header, and what records say of it, xl_btree_metadata.
const (
	btMagic      = 0x053162
	btMetaSize   = 48
	btMetaTuples = 32 // float64 last_cleanup_num_heap_tuples
	btMetaEqual  = 40 // bool allequalimage
	btMetaFields = 24 // version, root, level, fastroot, fastlevel, last_cleanup_num_delpages
	btMetaRecord = btMetaFields + 1
)

// btRestoreMeta writes the metapage anew.
func btRestoreMeta(c *change) error {
	data := c.blk.Data
	if len(data) < btMetaRecord {
		return btCorrupt("%d bytes for a metapage, want %d", len(data), btMetaRecord)
	}
	o := btInit(c.page)
	m := c.page[bufpage.HeaderSize : bufpage.HeaderSize+btMetaSize]
	le := binary.LittleEndian
	le.PutUint32(m, btMagic)
	copy(m[4:], data[:btMetaFields])
	le.PutUint64(m[btMetaTuples:], math.Float64bits(-1))
	m[btMetaEqual] = data[btMetaFields]
	o.setFlags(btMeta)
	c.page.SetLower(bufpage.HeaderSize + btMetaSize)
	c.page.SetLSN(c.end)
	return nil
}

func btreeMetaCleanup(c *change) error {
	if c.blk.ID != 0 {
		return btUnknownBlock(c)
	}
	return btRestoreMeta(c)
}

// btreeNewRoot makes a root (block 0), empty or with two downlinks in its data; block 1 is the old root
// that was split, block 2 the metapage. Data: root block u32, level u32.
func btreeNewRoot(c *change) error {
	const size = 8
	main, err := btMain(c, size)
	if err != nil {
		return err
	}
	switch c.blk.ID {
	case 0:
	case 1:
		return btClearIncomplete(c)
	case 2:
		return btRestoreMeta(c)
	default:
		return btUnknownBlock(c)
	}
	o := btInit(c.page)
	level := binary.LittleEndian.Uint32(main[4:])
	o.setLevel(level)
	if level == 0 {
		o.setFlags(btRoot | btLeaf)
	} else {
		o.setFlags(btRoot)
		if err := btRestoreItems(c.page, c.blk.Data); err != nil {
			return err
		}
	}
	c.page.SetLSN(c.end)
	return nil
}

// btRestoreItems fills an empty page with items in the form in which they lay on the page that was logged,
// from pd_upper on: the last item comes first.
func btRestoreItems(p bufpage.Page, data []byte) error {
	var starts [bufpage.MaxIndexTuples]uint16
	n := 0
	for off := 0; off < len(data); {
		t, err := btTupleAt(data[off:])
		if err != nil {
			return err
		}
		if n == len(starts) {
			return btCorrupt("more than %d items for one page", n)
		}
		starts[n] = uint16(off)
		n++
		off += bufpage.Align(len(t))
	}
	for i := n - 1; i >= 0; i-- {
		t, err := btTupleAt(data[starts[i]:])
		if err != nil {
			return err
		}
		if _, err := p.AddItem(btPadded(data[starts[i]:], len(t)), n-i, 0); err != nil {
			return btBad(err)
		}
	}
	return nil
}
