package native

// lockAllFrozenCleared is the flag of lock records that clear the page's frozen bit in the map.
const lockAllFrozenCleared = 1 << 0

// parseLock reads the main data of LOCK and LOCK_UPDATED: xmax u32, offnum u16, infobits u8, flags u8.
func (c *change) parseLock() (xmax uint32, offnum int, infobits, flags uint8, err error) {
	main, err := c.main(8)
	if err != nil {
		return 0, 0, 0, 0, err
	}
	return le.Uint32(main), int(le.Uint16(main[4:])), main[6], main[7], nil
}

func lockRedo(c *change) error {
	xmax, offnum, infobits, flags, err := c.parseLock()
	if err != nil {
		return err
	}
	if c.isMap() {
		return c.clearMapOf(0, flags&lockAllFrozenCleared != 0, mapAllFrozen)
	}
	t, err := c.tuple(offnum)
	if err != nil {
		return err
	}
	t.clearMask(xmaxBits|moved, keysUpdated)
	t.setInfobits(infobits)
	if t.lockedOnly() {
		t.clearMask(0, hotUpdated)
		t.setCtid(c.blkno, offnum)
	}
	t.setXmax(xmax)
	t.setCmax()
	c.page.SetLSN(c.end)
	return nil
}

func lockUpdatedRedo(c *change) error {
	xmax, offnum, infobits, flags, err := c.parseLock()
	if err != nil {
		return err
	}
	if c.isMap() {
		return c.clearMapOf(0, flags&lockAllFrozenCleared != 0, mapAllFrozen)
	}
	t, err := c.tuple(offnum)
	if err != nil {
		return err
	}
	t.clearMask(xmaxBits|moved, keysUpdated)
	t.setInfobits(infobits)
	t.setXmax(xmax)
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
