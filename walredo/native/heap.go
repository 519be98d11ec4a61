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

// heapOps are the operations of Heap. TRUNCATE touches no block. Neon's 14 and 15 put a command id into
// these records; its 16 and 17 use another resource manager for those that need one.
func heapOps(v pg.Version, f pg.Flavour) *ops {
	o := new(ops)
	o.setInit(heapInsert, insertRedo)
	o.set(heapConfirm, confirmRedo)
	o.set(heapInplace, inplaceRedo)
	if f == pg.Neon && v <= pg.V15 {
		return o
	}
	o.set(heapDelete, deleteRedo)
	o.setInit(heapUpdate, updateRedo)
	o.setInit(heapHotUpdate, updateRedo)
	o.set(heapLock, lockRedo)
	return o
}

// heap2Ops are the operations of Heap2. REWRITE and NEW_CID touch no block.
func heap2Ops(v pg.Version) *ops {
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
	o.setInit(heap2MultiInsert, multiInsertRedo)
	o.set(heap2LockUpdated, lockUpdatedRedo)
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

// insertRedo: offnum u16, flags u8; block data is the tuple's header and body.
func insertRedo(c *change) error {
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
	if len(data) < tupleHeaderLogged {
		return corrupt("tuple of %d bytes", len(data))
	}
	if err := c.addTuple(offnum, data[:tupleHeaderLogged], data[tupleHeaderLogged:]); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	if flags&insertAllVisibleCleared != 0 {
		c.page.ClearFlag(bufpage.AllVisible)
	}
	return nil
}

// addTuple adds a new tuple of the record's transaction at line pointer offnum.
func (c *change) addTuple(offnum int, head, body []byte) error {
	t, err := c.newTuple(offnum, tupleHeaderSize+len(body))
	if err != nil {
		return err
	}
	copy(t[tupleHeaderSize:], body)
	t.init(head, c.rec.Xid, 0, c.blkno, offnum)
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

// multiInsertRedo: flags u8, pad, ntuples u16, line pointer numbers u16 unless the page is made anew;
// block data is the tuples, each 2-aligned: length u16, header, body.
func multiInsertRedo(c *change) error {
	const fixed, lenSize = 4, 2
	main, err := c.main(fixed)
	if err != nil {
		return err
	}
	flags, n := main[0], int(le.Uint16(main[2:]))
	if c.isMap() {
		return c.clearMapOf(0, flags&insertAllVisibleCleared != 0, mapValid)
	}
	offsets := main[fixed:]
	isInit := c.rec.Info&heapInitPage != 0
	if isInit {
		c.page.Init(0)
	} else if len(offsets) < 2*n {
		return corrupt("%d bytes of line pointer numbers for %d tuples", len(offsets), n)
	}
	data, pos := c.blk.Data, 0
	for i := range n {
		offnum := i + 1
		if !isInit {
			offnum = int(le.Uint16(offsets[2*i:]))
		}
		pos += pos & 1
		body := pos + lenSize + tupleHeaderLogged
		if body > len(data) {
			return corrupt("tuple %d of %d is cut off", i+1, n)
		}
		size := int(le.Uint16(data[pos:]))
		if size > len(data)-body {
			return corrupt("tuple %d of %d is cut off", i+1, n)
		}
		if err := c.addTuple(offnum, data[pos+lenSize:body], data[body:body+size]); err != nil {
			return err
		}
		pos = body + size
	}
	if pos != len(data) {
		return corrupt("%d bytes behind the last tuple", len(data)-pos)
	}
	c.page.SetLSN(c.end)
	if flags&insertAllVisibleCleared != 0 {
		c.page.ClearFlag(bufpage.AllVisible)
	}
	if flags&insertAllFrozenSet != 0 {
		c.page.SetFlag(bufpage.AllVisible)
	}
	return nil
}

// Flags of delete records.
const (
	deleteAllVisibleCleared = 1 << 0
	deleteIsSuper           = 1 << 3
	deleteIsPartitionMove   = 1 << 4
)

// deleteRedo: xmax u32, offnum u16, infobits u8, flags u8.
func deleteRedo(c *change) error {
	main, err := c.main(8)
	if err != nil {
		return err
	}
	xmax, offnum, infobits, flags := le.Uint32(main), int(le.Uint16(main[4:])), main[6], main[7]
	if c.isMap() {
		return c.clearMapOf(0, flags&deleteAllVisibleCleared != 0, mapValid)
	}
	t, err := c.tuple(offnum)
	if err != nil {
		return err
	}
	t.clearMask(xmaxBits|moved, keysUpdated|hotUpdated)
	t.setInfobits(infobits)
	if flags&deleteIsSuper != 0 {
		t.setXmin(0)
	} else {
		t.setXmax(xmax)
	}
	t.setCmax()
	setPrunable(c.page, c.rec.Xid)
	if flags&deleteAllVisibleCleared != 0 {
		c.page.ClearFlag(bufpage.AllVisible)
	}
	if flags&deleteIsPartitionMove != 0 {
		t.setCtid(movedPartitionsBlock, movedPartitionsOffset)
	} else {
		t.setCtid(c.blkno, offnum)
	}
	c.page.SetLSN(c.end)
	return nil
}
