package native

// lockAllFrozenCleared is the flag of lock records that clear the page's frozen bit in the map.
const lockAllFrozenCleared = 1 << 0

// lock marks a tuple as locked.
func (l *heapLayout) lock(c *change) error {
	d, err := c.parseLocking(&l.locking)
	if err != nil {
		return err
	}
	if c.isMap() {
		return c.clearMapOf(0, d.flags&lockAllFrozenCleared != 0, mapAllFrozen)
	}
	t, err := c.tuple(d.offnum)
	if err != nil {
		return err
	}
	t.clearMask(xmaxBits|moved, keysUpdated)
	t.setInfobits(d.infobits)
	if t.lockedOnly() {
		t.clearMask(0, hotUpdated)
		t.setCtid(c.blkno, d.offnum)
	}
	t.setXmax(d.xmax)
	t.setCid(d.cid, l.isCombo(d.infobits))
	c.page.SetLSN(c.end)
	return nil
}

// lockUpdated marks a later version of a locked row as locked too. The command id stays.
func (l *heapLayout) lockUpdated(c *change) error {
	d, err := c.parseLocking(&stockPlaces)
	if err != nil {
		return err
	}
	if c.isMap() {
		return c.clearMapOf(0, d.flags&lockAllFrozenCleared != 0, mapAllFrozen)
	}
	t, err := c.tuple(d.offnum)
	if err != nil {
		return err
	}
	t.clearMask(xmaxBits|moved, keysUpdated)
	t.setInfobits(d.infobits)
	if l.cids {
		t.clearMask(comboCid, 0)
	}
	t.setXmax(d.xmax)
	c.page.SetLSN(c.end)
	return nil
}

// confirmRedo (offnum u16) makes a speculative insertion a real one.
func confirmRedo(c *change) error {
	main, err := c.main(2)
	if err != nil {
		return err
	}
	offnum := int(le.Uint16(main))
	t, err := c.tuple(offnum)
	if err != nil {
		return err
	}
	t.setCtid(c.blkno, offnum)
	c.page.SetLSN(c.end)
	return nil
}

// inplaceRedo (offnum u16, then what only caches need) overwrites a tuple's data with the block data.
func inplaceRedo(c *change) error {
	main, err := c.main(2)
	if err != nil {
		return err
	}
	t, err := c.tuple(int(le.Uint16(main)))
	if err != nil {
		return err
	}
	if hoff := t.hoff(); len(t)-hoff != len(c.blk.Data) {
		return corrupt("%d bytes in place of %d", len(c.blk.Data), len(t)-hoff)
	}
	copy(t[t.hoff():], c.blk.Data)
	c.page.SetLSN(c.end)
	return nil
}
