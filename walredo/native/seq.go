package native

// The sequence page (commands/sequence.c): one tuple, and a magic number in the special space.
const (
	seqLog      = 0x00
	seqMagic    = 0x1717
	seqSpecial  = 4
	seqRelation = 12 // RelFileNode / RelFileLocator before the tuple
)

func seqOps() *ops {
	o := new(ops)
	o.set(seqLog, seqRedo)
	return o
}

// seqRedo makes the sequence's page anew from the tuple in the main data.
func seqRedo(c *change) error {
	main, err := c.main(seqRelation)
	if err != nil {
		return err
	}
	c.page.Init(seqSpecial)
	special, err := c.page.Special()
	if err != nil {
		return err
	}
	le.PutUint32(special, seqMagic)
	if _, err := c.page.AddItem(main[seqRelation:], 1, 0); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}
