package native

import (
	"github.com/stratapg/strata/pg/bufpage"
)

// genericOps has the one kind of generic record, by which extensions' indexes log (access/generic_xlog.h).
// PostgreSQL does not look at its info bits.
func genericOps() *ops {
	o := new(ops)
	for i := range o {
		o[i] = genericRedo
	}
	return o
}

// genericRedo writes pieces over the page, each block its own: offset u16, length u16, the bytes. The free
// space becomes zeros, as it did on the server's page.
func genericRedo(c *change) error {
	const head = 4
	for data := c.blk.Data; len(data) > 0; {
		if len(data) < head {
			return corrupt("%d bytes for a piece of a generic record", len(data))
		}
		at, n := int(le.Uint16(data)), int(le.Uint16(data[2:]))
		if n > len(data)-head || at+n > len(c.page) {
			return corrupt("a piece of %d bytes for byte %d of the page, of which the generic record has %d", n, at, len(data)-head)
		}
		copy(c.page[at:], data[head:head+n])
		data = data[head+n:]
	}
	lower, upper := c.page.Lower(), c.page.Upper()
	if lower < bufpage.HeaderSize || lower > upper || upper > len(c.page) {
		return corrupt("a generic record leaves free space from %d to %d", lower, upper)
	}
	clear(c.page[lower:upper])
	c.page.SetLSN(c.end)
	return nil
}
