package native

import (
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// Operations of Heap and Heap2 (access/heapam_xlog.h). Bit 0x80 beside the code says that the page is made
// anew.
const (
	heapInsert    = 0x00
	heapDelete    = 0x10
	heapUpdate    = 0x20
	heapHotUpdate = 0x40
	heapConfirm   = 0x50
	heapLock      = 0x60
	heapInplace   = 0x70
	heapInitPage  = 0x80

	heap2Prune       = 0x10 // up to 16
	heap2Vacuum      = 0x20 // up to 16
	heap2FreezePage  = 0x30 // up to 16
	heap2PruneAccess = 0x10 // from 17 on, as the next two: pruning and freezing in one record
	heap2PruneScan   = 0x20
	heap2PruneClean  = 0x30
	heap2Visible     = 0x40
	heap2MultiInsert = 0x50
	heap2LockUpdated = 0x60
)

// heapOps are the operations of Heap. TRUNCATE touches no block.
func heapOps(l *heapLayout) *ops {
	o := new(ops)
	o.setInit(heapInsert, l.insert)
	o.set(heapDelete, l.delete)
	o.setInit(heapUpdate, l.update)
	o.setInit(heapHotUpdate, l.hotUpdate)
	o.set(heapConfirm, confirmRedo)
	o.set(heapLock, l.lock)
	o.set(heapInplace, inplaceRedo)
	return o
}

// heap2Ops are the operations of Heap2. REWRITE and NEW_CID touch no block.
func heap2Ops(v pg.Version, l *heapLayout) *ops {
	o := new(ops)
	switch {
	case v >= pg.V17:
		o.set(heap2PruneAccess, pruneFreezeRedo)
		o.set(heap2PruneScan, pruneFreezeRedo)
		o.set(heap2PruneClean, pruneFreezeRedo)
	case v == pg.V16:
		o.set(heap2FreezePage, freezePlansRedo)
	default:
		o.set(heap2FreezePage, freezeTuplesRedo)
	}
	if v <= pg.V16 {
		o.set(heap2Prune, pruneRedo)
		o.set(heap2Vacuum, vacuumRedo)
	}
	o.set(heap2Visible, visibleRedo)
	o.setInit(heap2MultiInsert, l.multiInsert)
	o.set(heap2LockUpdated, l.lockUpdated)
	return o
}

// isMap reports whether the page at work is one of the visibility map. Newer minor releases name the map's
// page in records that clear bits there.
func (c *change) isMap() bool { return c.blk.Rel.Fork == page.ForkVM }

// Flags of insert records.
const (
	insertAllVisibleCleared = 1 << 0
	insertAllFrozenSet      = 1 << 5
)

// insert: offnum u16, flags u8; block data is the tuple's header and body.
func (l *heapLayout) insert(c *change) error {
	main, err := c.main(3)
	if err != nil {
		return err
	}
	offnum, flags := int(le.Uint16(main)), main[2]
	if c.isMap() {
		return c.clearMapOf(0, flags&insertAllVisibleCleared != 0, mapValid)
	}
	if c.rec.Info&heapInitPage != 0 {
		c.page.Init(0)
	}
	data := c.blk.Data
	if len(data) < l.header {
		return corrupt("tuple of %d bytes", len(data))
	}
	h := l.parseHeader(data)
	if err := c.addTuple(offnum, &h, data[l.header:]); err != nil {
		return err
	}
	c.insertFlags(flags)
	c.page.SetLSN(c.end)
	return nil
}

// insertFlags changes the page's flag as insertions do.
func (c *change) insertFlags(flags uint8) {
	if flags&insertAllVisibleCleared != 0 {
		c.page.ClearFlag(bufpage.AllVisible)
	}
	if flags&insertAllFrozenSet != 0 {
		c.page.SetFlag(bufpage.AllVisible)
	}
}

// addTuple adds a new tuple of the record's transaction at line pointer offnum.
func (c *change) addTuple(offnum int, h *loggedHeader, body []byte) error {
	t, err := c.newTuple(offnum, tupleHeaderSize+len(body))
	if err != nil {
		return err
	}
	copy(t[tupleHeaderSize:], body)
	t.init(h, c.rec.Xid, 0, c.blkno, offnum)
	return nil
}

// newTuple makes room for a tuple of size bytes at line pointer offnum.
func (c *change) newTuple(offnum, size int) (tuple, error) {
	if offnum == 0 {
		return nil, corrupt("a tuple at line pointer 0")
	}
	off, _, err := c.page.AddSpace(size, offnum, bufpage.Overwrite|bufpage.Heap)
	if err != nil {
		return nil, err
	}
	return tuple(c.page[off : off+size]), nil
}

// multiInsert: flags u8, pad, ntuples u16, line pointer numbers u16 unless the page is made anew; block
// data is the tuples, each 2-aligned: length u16, header, body.
func (l *heapLayout) multiInsert(c *change) error {
	main, err := c.main(l.multiFixed)
	if err != nil {
		return err
	}
	flags, n := main[0], int(le.Uint16(main[2:]))
	if c.isMap() {
		return c.clearMapOf(0, flags&insertAllVisibleCleared != 0, mapValid)
	}
	numbers := offsets(main[l.multiFixed:])
	isInit := c.rec.Info&heapInitPage != 0
	if isInit {
		c.page.Init(0)
	} else if numbers.len() < n {
		return corrupt("%d line pointer numbers for %d tuples", numbers.len(), n)
	}
	data, pos := c.blk.Data, 0
	for i := range n {
		offnum := i + 1
		if !isInit {
			offnum = numbers.at(i)
		}
		pos += pos & 1
		body := pos + l.multiHeader
		if body > len(data) {
			return corrupt("tuple %d of %d is cut off", i+1, n)
		}
		size := int(le.Uint16(data[pos:]))
		if size > len(data)-body {
			return corrupt("tuple %d of %d is cut off", i+1, n)
		}
		h := l.parseMultiHeader(main, data[pos:body])
		if err := c.addTuple(offnum, &h, data[body:body+size]); err != nil {
			return err
		}
		pos = body + size
	}
	if pos != len(data) {
		return corrupt("%d bytes behind the last tuple", len(data)-pos)
	}
	c.insertFlags(flags)
	c.page.SetLSN(c.end)
	return nil
}

// Flags of delete records.
const (
	deleteAllVisibleCleared = 1 << 0
	deleteIsSuper           = 1 << 3
	deleteIsPartitionMove   = 1 << 4
)

// delete marks a tuple as deleted, or undoes a speculative insertion.
func (l *heapLayout) delete(c *change) error {
	d, err := c.parseLocking(&l.deletion)
	if err != nil {
		return err
	}
	if c.isMap() {
		return c.clearMapOf(0, d.flags&deleteAllVisibleCleared != 0, mapValid)
	}
	t, err := c.tuple(d.offnum)
	if err != nil {
		return err
	}
	t.clearMask(xmaxBits|moved, keysUpdated|hotUpdated)
	t.setInfobits(d.infobits)
	if d.flags&deleteIsSuper != 0 {
		t.setXmin(0)
	} else {
		t.setXmax(d.xmax)
	}
	t.setCid(d.cid, l.isCombo(d.infobits))
	setPrunable(c.page, c.rec.Xid)
	if d.flags&deleteAllVisibleCleared != 0 {
		c.page.ClearFlag(bufpage.AllVisible)
	}
	if d.flags&deleteIsPartitionMove != 0 {
		t.setCtid(movedPartitionsBlock, movedPartitionsOffset)
	} else {
		t.setCtid(c.blkno, d.offnum)
	}
	c.page.SetLSN(c.end)
	return nil
}
