package native

import (
	"encoding/binary"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// btMaxItem is the largest tuple on a btree page (BTMaxItemSize): a third of the page, less a heap TID.
// Deduplication on redo is bounded by nothing smaller, whatever bound the server used.
const btMaxItem = ((pg.BlockSize - (bufpage.HeaderSize+3*bufpage.ItemIDSize+7)&^7 - btOpaqueSize) / 3 &^ 7) - 8

// btDedup is a deduplication pass: the tuple that the next ones may be merged into, and the TIDs so far.
type btDedup struct {
	page  bufpage.Page // the new page
	base  btTuple
	key   int // length of base without a posting list
	items int // tuples merged, 0 if there is no base
	tids  []byte
	buf   [tupSizeMask + 1]byte
	list  [btMaxItem]byte
}

// btreeDedup merges runs of equal tuples of a leaf into posting lists. Data: number of runs u16. Block
// data: for each the item number of its first tuple u16, and its number of tuples u16.
func btreeDedup(c *change) error {
	main, err := btMain(c, 2)
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
	const runSize = 4
	runs := c.blk.Data
	if n := int(le.Uint16(main)); len(runs) < n*runSize {
		return btCorrupt("%d bytes for %d runs of equal tuples", len(runs), n)
	} else {
		runs = runs[:n*runSize]
	}
	var scratch [pg.BlockSize]byte
	d := btDedup{page: scratch[:]}
	if err := d.page.InitLike(c.page); err != nil {
		return btBad(err)
	}
	first := o.firstData()
	if first > btHighKey {
		key, err := c.page.Item(btHighKey)
		if err != nil {
			return btBad(err)
		}
		if err := btAdd(d.page, key, btHighKey); err != nil {
			return err
		}
	}
	baseNumber := 0
	for n := first; n <= c.page.MaxOffset(); n++ {
		t, err := btItem(c.page, n)
		if err != nil {
			return err
		}
		inRun := d.items > 0 && len(runs) > 0 && baseNumber == int(le.Uint16(runs)) && d.items < int(le.Uint16(runs[2:]))
		if inRun {
			if err := d.merge(t); err != nil {
				return err
			}
			continue
		}
		if d.items > 1 {
			runs = runs[runSize:]
		}
		if err := d.finish(); err != nil {
			return err
		}
		if err := d.start(t); err != nil {
			return err
		}
		baseNumber = n
	}
	if err := d.finish(); err != nil {
		return err
	}
	copy(c.page, d.page)
	o.setFlags(o.flags() &^ btHasGarbage)
	c.page.SetLSN(c.end)
	return nil
}

// start makes t the tuple that the next ones may be merged into.
func (d *btDedup) start(t btTuple) error {
	key, tids, err := t.tids()
	if err != nil {
		return err
	}
	d.base, d.key, d.items = t, key, 1
	d.tids = append(d.list[:0], tids...)
	return nil
}

// merge adds the TIDs of t.
func (d *btDedup) merge(t btTuple) error {
	_, tids, err := t.tids()
	if err != nil {
		return err
	}
	if bufpage.Align(d.key+len(d.tids)+len(tids)) > btMaxItem {
		return btCorrupt("posting list grows beyond %d bytes", btMaxItem)
	}
	d.tids = append(d.tids, tids...)
	d.items++
	return nil
}

// finish puts the tuple on the new page: as it was if nothing was merged into it.
func (d *btDedup) finish() error {
	if d.items == 0 {
		return nil
	}
	t := d.base
	if d.items > 1 {
		var err error
		if t, err = btFormTuple(&d.buf, d.base, d.key, d.tids); err != nil {
			return err
		}
	}
	d.items = 0
	return btAdd(d.page, t, d.page.MaxOffset()+1)
}
