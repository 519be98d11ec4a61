package native

import "github.com/stratapg/strata/pg/bufpage"

// Flags of update records.
const (
	updateOldAllVisibleCleared = 1 << 0
	updateNewAllVisibleCleared = 1 << 1
	updatePrefixFromOld        = 1 << 5
	updateSuffixFromOld        = 1 << 6
)

// Block references of update records. The old page is only there if it is another one.
const (
	updateNew    = 0
	updateOld    = 1
	updateMapNew = 2
	updateMapOld = 3
)

// update is the main data of UPDATE and HOT_UPDATE: old xmax u32, old offnum u16, old infobits u8, flags
// u8, in Neon's records cid u32, new xmax u32, new offnum u16.
type update struct {
	oldXmax, newXmax, cid uint32
	oldOffnum, newOffnum  int
	oldInfobits, flags    uint8
	oldBlock, newBlock    uint32
	combo, hot            bool
}

func (l *heapLayout) parseUpdate(c *change) (u update, err error) {
	main, err := c.main(14 + l.updateCid)
	if err != nil {
		return u, err
	}
	b, err := c.block(updateNew)
	if err != nil {
		return u, err
	}
	u = update{
		oldXmax: le.Uint32(main), oldOffnum: int(le.Uint16(main[4:])), oldInfobits: main[6], flags: main[7],
		oldBlock: b.Blkno, newBlock: b.Blkno,
	}
	if l.cids {
		u.cid, u.combo = le.Uint32(main[8:]), l.isCombo(u.oldInfobits)
	}
	main = main[8+l.updateCid:]
	u.newXmax, u.newOffnum = le.Uint32(main), int(le.Uint16(main[4:]))
	if b := c.rec.Block(updateOld); b != nil {
		u.oldBlock = b.Blkno
	}
	return u, nil
}

// update redoes UPDATE.
func (l *heapLayout) update(c *change) error { return l.updateEither(c, false) }

// hotUpdate redoes HOT_UPDATE.
func (l *heapLayout) hotUpdate(c *change) error { return l.updateEither(c, true) }

// updateEither changes the old tuple where its page is the one at work, and adds the new one likewise.
func (l *heapLayout) updateEither(c *change, hot bool) error {
	u, err := l.parseUpdate(c)
	if err != nil {
		return err
	}
	if c.isMap() {
		return c.updateMap(&u)
	}
	u.hot = hot
	var old tuple
	same := u.oldBlock == u.newBlock
	if same || c.blk.ID == updateOld {
		if old, err = c.updateOldTuple(&u); err != nil || !same {
			return err
		}
	} else if c.rec.Info&heapInitPage != 0 {
		c.page.Init(0)
	}
	return l.updateNewTuple(c, &u, old)
}

func (c *change) updateOldTuple(u *update) (tuple, error) {
	t, err := c.tuple(u.oldOffnum)
	if err != nil {
		return nil, err
	}
	t.clearMask(xmaxBits|moved, keysUpdated|hotUpdated)
	if u.hot {
		t.setMask2(t.mask2() | hotUpdated)
	}
	t.setInfobits(u.oldInfobits)
	t.setXmax(u.oldXmax)
	t.setCid(u.cid, u.combo)
	t.setCtid(u.newBlock, u.newOffnum)
	setPrunable(c.page, c.rec.Xid)
	if u.flags&updateOldAllVisibleCleared != 0 {
		c.page.ClearFlag(bufpage.AllVisible)
	}
	c.page.SetLSN(c.end)
	return t, nil
}

// updateNewTuple puts the new tuple together from the record and, where they are on one page, the parts of
// the old tuple that did not change. Block data: prefix length u16 and suffix length u16 if flagged, the
// tuple's header, null bitmap and padding up to hoff, the bytes in the middle.
func (l *heapLayout) updateNewTuple(c *change, u *update, old tuple) error {
	data := c.blk.Data
	prefix, suffix := 0, 0
	for _, part := range [...]struct {
		flag uint8
		n    *int
	}{{updatePrefixFromOld, &prefix}, {updateSuffixFromOld, &suffix}} {
		if u.flags&part.flag == 0 {
			continue
		}
		if len(data) < 2 {
			return corrupt("block data ends in the lengths")
		}
		*part.n = int(le.Uint16(data))
		data = data[2:]
	}
	if len(data) < l.header {
		return corrupt("new tuple of %d bytes", len(data))
	}
	h, body := l.parseHeader(data), data[l.header:]
	bitmap := 0 // bytes of body that come before the prefix
	if prefix > 0 {
		bitmap = int(h.hoff) - tupleHeaderSize
	}
	if bitmap < 0 || bitmap > len(body) {
		return corrupt("new tuple's data begins at %d of %d", h.hoff, tupleHeaderSize+len(body))
	}
	if prefix > 0 && int(old.hoff())+prefix > len(old) || suffix > len(old) {
		return corrupt("prefix %d and suffix %d of an old tuple of %d bytes", prefix, suffix, len(old))
	}
	t, err := c.newTuple(u.newOffnum, tupleHeaderSize+len(body)+prefix+suffix)
	if err != nil {
		return err
	}
	n := tupleHeaderSize
	n += copy(t[n:], body[:bitmap])
	if prefix > 0 {
		n += copy(t[n:], old[old.hoff():][:prefix])
	}
	n += copy(t[n:], body[bitmap:])
	copy(t[n:], old[len(old)-suffix:])
	t.init(&h, c.rec.Xid, u.newXmax, c.blkno, u.newOffnum)
	if u.flags&updateNewAllVisibleCleared != 0 {
		c.page.ClearFlag(bufpage.AllVisible)
	}
	c.page.SetLSN(c.end)
	return nil
}

// hoff is where the tuple's data begin, 0 for no tuple.
func (t tuple) hoff() int {
	if len(t) < tupleHeaderSize {
		return 0
	}
	return int(t[tupleHoff])
}

// updateMap clears the bits of the heap pages on the map page at work. One map page for both heap pages is
// named once, as the new one's.
func (c *change) updateMap(u *update) error {
	switch c.blk.ID {
	case updateMapNew:
		if u.flags&updateOldAllVisibleCleared != 0 && mapBlock(u.oldBlock) == c.blkno {
			if err := c.clearMap(u.oldBlock, mapValid); err != nil {
				return err
			}
		}
		return c.clearMap(u.newBlock, mapValid)
	case updateMapOld:
		return c.clearMap(u.oldBlock, mapValid)
	}
	return corrupt("block reference %d to a visibility map", c.blk.ID)
}
