package native

import (
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// offsets is a packed array of line pointer numbers, u16 each, as records hold it.
type offsets []byte

func (o offsets) len() int     { return len(o) / 2 }
func (o offsets) at(i int) int { return int(le.Uint16(o[2*i:])) }

// pruning says which line pointers pruning changes.
type pruning struct {
	redirected offsets // pairs: from, to
	dead       offsets
	unused     offsets
}

// prune changes the line pointers (heap_page_prune_execute). Where only dead ones became unused no tuple
// moves, and only the array of line pointers may shrink.
func (c *change) prune(p *pruning, linesOnly bool) error {
	for i := 0; i+1 < p.redirected.len(); i += 2 {
		to := p.redirected.at(i + 1)
		if to < 1 || to > c.page.MaxOffset() {
			return corrupt("redirection to line pointer %d of %d", to, c.page.MaxOffset())
		}
		if err := c.page.SetItemID(p.redirected.at(i), bufpage.NewItemID(to, bufpage.Redirect, 0)); err != nil {
			return err
		}
	}
	for i := range p.dead.len() {
		if err := c.page.SetItemID(p.dead.at(i), bufpage.NewItemID(0, bufpage.Dead, 0)); err != nil {
			return err
		}
	}
	for i := range p.unused.len() {
		if err := c.page.SetItemID(p.unused.at(i), 0); err != nil {
			return err
		}
	}
	if linesOnly {
		return c.page.TruncateLines()
	}
	// 14 leaves unused line pointers at the end when it prunes.
	return c.page.RepairFragmentation(c.version >= pg.V15)
}

// pruneRedo, up to 16: horizon u32, redirections u16, dead u16; block data is the numbers, the unused ones
// being the rest.
func pruneRedo(c *change) error {
	main, err := c.main(8)
	if err != nil {
		return err
	}
	redirected, dead := 4*int(le.Uint16(main[4:])), 2*int(le.Uint16(main[6:]))
	data := c.blk.Data
	if redirected+dead > len(data) || len(data)%2 != 0 {
		return corrupt("%d bytes of line pointer numbers, want %d", len(data), redirected+dead)
	}
	p := pruning{data[:redirected], data[redirected : redirected+dead], data[redirected+dead:]}
	if err := c.prune(&p, false); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// vacuumRedo, up to 16: unused u16; block data is their numbers.
func vacuumRedo(c *change) error {
	main, err := c.main(2)
	if err != nil {
		return err
	}
	n := 2 * int(le.Uint16(main))
	if n > len(c.blk.Data) {
		return corrupt("%d bytes of line pointer numbers, want %d", len(c.blk.Data), n)
	}
	if err := c.prune(&pruning{unused: c.blk.Data[:n]}, true); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// Flags of 17's pruning records.
const (
	pruneCleanupLock     = 1 << 2 // tuples may move
	pruneConflictHorizon = 1 << 3
	pruneFreezePlans     = 1 << 4
	pruneRedirections    = 1 << 5
	pruneDeadItems       = 1 << 6
	pruneUnusedItems     = 1 << 7
)

// pruneFreezeRedo, from 17 on: reason u8, flags u8, horizon u32 if flagged. Block data is, each if flagged:
// count u16, pad u16, freeze plans; count u16 and numbers for redirections, dead, unused; and at the end the
// numbers of the plans' tuples.
func pruneFreezeRedo(c *change) error {
	main, err := c.main(2)
	if err != nil {
		return err
	}
	flags := main[1]
	r := cursor{b: c.blk.Data}
	var plans []byte
	if flags&pruneFreezePlans != 0 {
		n := int(r.u16())
		r.take(2)
		plans = r.take(n * freezePlanSize)
	}
	var p pruning
	for _, part := range [...]struct {
		flag uint8
		size int
		to   *offsets
	}{{pruneRedirections, 4, &p.redirected}, {pruneDeadItems, 2, &p.dead}, {pruneUnusedItems, 2, &p.unused}} {
		if flags&part.flag != 0 {
			*part.to = r.take(int(r.u16()) * part.size)
		}
	}
	if r.short {
		return corrupt("block data of %d bytes is cut off", len(c.blk.Data))
	}
	if len(p.redirected)+len(p.dead)+len(p.unused) > 0 {
		if err := c.prune(&p, flags&pruneCleanupLock == 0); err != nil {
			return err
		}
	}
	if err := c.freeze(plans, r.b); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// cursor takes pieces from the front of b and notes when there is too little.
type cursor struct {
	b     []byte
	short bool
}

func (r *cursor) take(n int) []byte {
	if n > len(r.b) {
		r.b, r.short = nil, true
		return nil
	}
	t := r.b[:n:n]
	r.b = r.b[n:]
	return t
}

func (r *cursor) u16() uint16 {
	if t := r.take(2); t != nil {
		return le.Uint16(t)
	}
	return 0
}

// Freezing.
const (
	freezePlanSize  = 12   // xmax u32, infomask2 u16, infomask u16, flags u8, pad, tuples u16
	freezeTupleSize = 12   // up to 15: xmax u32, offnum u16, infomask2 u16, infomask u16, flags u8, pad
	freezeXvac      = 0x02 // xvac becomes the frozen transaction id
	invalidXvac     = 0x04 // xvac becomes 0
)

// freeze applies plans, one after the other, to the tuples whose numbers follow each other in numbers.
func (c *change) freeze(plans []byte, numbers offsets) error {
	next := 0
	for ; len(plans) >= freezePlanSize; plans = plans[freezePlanSize:] {
		n := int(le.Uint16(plans[10:]))
		if next+n > numbers.len() {
			return corrupt("freeze plans for more than %d tuples", numbers.len())
		}
		for i := next; i < next+n; i++ {
			err := c.freezeTuple(numbers.at(i), le.Uint32(plans), le.Uint16(plans[4:]), le.Uint16(plans[6:]), plans[8])
			if err != nil {
				return err
			}
		}
		next += n
	}
	if 2*next != len(numbers) {
		return corrupt("%d bytes of line pointer numbers behind the freeze plans, want %d", len(numbers), 2*next)
	}
	return nil
}

func (c *change) freezeTuple(offnum int, xmax uint32, mask2, mask uint16, flags uint8) error {
	t, err := c.tuple(offnum)
	if err != nil {
		return err
	}
	t.setXmax(xmax)
	if flags&freezeXvac != 0 {
		le.PutUint32(t[tupleCid:], pg.FrozenXid)
	}
	if flags&invalidXvac != 0 {
		le.PutUint32(t[tupleCid:], 0)
	}
	t.setMask(mask)
	t.setMask2(mask2)
	return nil
}

// freezePlansRedo, 16: horizon u32, plans u16; block data is the plans and then the tuples' numbers.
func freezePlansRedo(c *change) error {
	main, err := c.main(6)
	if err != nil {
		return err
	}
	n := int(le.Uint16(main[4:])) * freezePlanSize
	if n > len(c.blk.Data) {
		return corrupt("%d bytes of freeze plans, want %d", len(c.blk.Data), n)
	}
	if err := c.freeze(c.blk.Data[:n], offsets(c.blk.Data[n:])); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// freezeTuplesRedo, up to 15: horizon u32, tuples u16; block data is an entry a tuple.
func freezeTuplesRedo(c *change) error {
	main, err := c.main(6)
	if err != nil {
		return err
	}
	n := int(le.Uint16(main[4:]))
	data := c.blk.Data
	if n*freezeTupleSize > len(data) {
		return corrupt("%d bytes for freezing %d tuples", len(data), n)
	}
	for range n {
		err := c.freezeTuple(int(le.Uint16(data[4:])), le.Uint32(data), le.Uint16(data[6:]), le.Uint16(data[8:]), data[10])
		if err != nil {
			return err
		}
		data = data[freezeTupleSize:]
	}
	c.page.SetLSN(c.end)
	return nil
}
