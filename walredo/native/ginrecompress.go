package native

import (
	"github.com/stratapg/strata/pg/bufpage"
)

// A leaf of a posting tree holds segments: the first TID (6 bytes), the number of bytes behind u16, and in
// them the distances to the next TIDs, seven bits to a byte, low ones first, the eighth set on all but a
// number's last byte; padded to an even length. A TID counts as its block number with eleven bits for the
// item number.
const (
	ginSegHeader = tidSize + 2
	ginItemBits  = 11
	ginVarBits   = 7
	// ginVarMax is the longest form of a distance: seven bytes for 43 bits.
	ginVarMax = 7
)

// What a record does to a segment.
const (
	ginSegDelete   = 1
	ginSegInsert   = 2 // before the segment
	ginSegReplace  = 3
	ginSegAddItems = 4 // TIDs are given plainly; the segment is packed anew
)

// ginVacuumLeaf removes TIDs from a leaf of a posting tree (block 0): segments change as in an insertion.
func ginVacuumLeaf(c *change) error {
	if c.blk.ID != 0 {
		return ginUnknownBlock(c)
	}
	if err := ginRecompress(c); err != nil {
		return err
	}
	c.page.SetLSN(c.end)
	return nil
}

// ginRecompress changes segments of a leaf as the block data says: number of actions u16, then for each the
// segment's number u8, what to do u8, and a segment, or a number of TIDs u16 and these. Segments are
// counted as the page had them before.
func ginRecompress(c *change) error {
	o, err := ginPageOf(c.page, ginData|ginLeaf, 0)
	if err != nil {
		return err
	}
	if o.flags()&ginCompressed == 0 {
		if err := ginCompressPage(c.page, o); err != nil {
			return err
		}
	}
	size := c.page.Lower() - ginDataAt
	if size < 0 || size > ginDataMax {
		return corrupt("a GIN leaf with pd_lower %d", c.page.Lower())
	}
	var before [ginDataMax]byte
	r := ginRewrite{
		old: before[:copy(before[:], c.page[ginDataAt:ginDataAt+size])],
		new: ginWriter{b: c.page[ginDataAt : ginDataAt+ginDataMax]},
	}
	if err := r.actions(c.blk.Data); err != nil {
		return err
	}
	ginSetDataSize(c.page, r.new.n)
	return nil
}

// ginRewrite writes the segments of a leaf anew.
type ginRewrite struct {
	old []byte // segments not yet looked at
	seg int    // number of the first of them
	new ginWriter
}

func (r *ginRewrite) actions(data []byte) error {
	const count, head = 2, 2
	if len(data) < count {
		return corrupt("%d bytes of changes to a GIN leaf", len(data))
	}
	n := int(le.Uint16(data))
	data = data[count:]
	if n == 0 {
		return corrupt("no change to a GIN leaf")
	}
	for range n {
		if len(data) < head {
			return corrupt("changes to a GIN leaf end early")
		}
		seg, action := int(data[0]), data[1]
		used, err := r.action(seg, action, data[head:])
		if err != nil {
			return err
		}
		data = data[head+used:]
	}
	return r.new.put(r.old)
}

// action does one change, and gives the number of bytes that it takes from data.
func (r *ginRewrite) action(seg int, action uint8, data []byte) (used int, err error) {
	if seg < r.seg {
		return 0, corrupt("a change to segment %d of a GIN leaf behind one to %d", seg, r.seg)
	}
	for r.seg < seg {
		s, err := r.take()
		if err != nil {
			return 0, err
		}
		if err := r.new.put(s); err != nil {
			return 0, err
		}
	}
	switch action {
	case ginSegDelete:
		_, err := r.take()
		return 0, err
	case ginSegInsert, ginSegReplace:
		s, err := ginSegmentAt(data)
		if err != nil {
			return 0, err
		}
		if action == ginSegReplace {
			if _, err := r.take(); err != nil {
				return 0, err
			}
		}
		return len(s), r.new.put(s)
	case ginSegAddItems:
		return r.addItems(data)
	}
	return 0, corrupt("change %d to segment %d of a GIN leaf", action, seg)
}

// addItems merges TIDs into the segment at hand.
func (r *ginRewrite) addItems(data []byte) (used int, err error) {
	const count = 2
	if len(data) < count {
		return 0, corrupt("TIDs for a GIN segment are missing")
	}
	used = count + tidSize*int(le.Uint16(data))
	if used > len(data) {
		return 0, corrupt("%d TIDs for a GIN segment in %d bytes", le.Uint16(data), len(data))
	}
	s, err := r.take()
	if err != nil {
		return 0, err
	}
	old, added := ginSegmentTIDs(s), ginTIDs{plain: data[count:used]}
	if err := old.next(); err != nil {
		return 0, err
	}
	if err := added.next(); err != nil {
		return 0, err
	}
	p := ginPacker{w: &r.new, start: r.new.n}
	for !old.done || !added.done {
		from := &old
		if old.done || !added.done && added.tid < old.tid {
			from = &added
		} else if !added.done && added.tid == old.tid {
			if err := added.next(); err != nil { // of two that are equal, one stays
				return 0, err
			}
		}
		if err := p.add(from.tid); err != nil {
			return 0, err
		}
		if err := from.next(); err != nil {
			return 0, err
		}
	}
	return used, p.finish()
}

// take gives the next segment of the page before.
func (r *ginRewrite) take() ([]byte, error) {
	s, err := ginSegmentAt(r.old)
	if err != nil {
		return nil, err
	}
	r.old = r.old[len(s):]
	r.seg++
	return s, nil
}

// ginSegmentAt takes the segment that starts b, with its padding.
func ginSegmentAt(b []byte) ([]byte, error) {
	if len(b) < ginSegHeader {
		return nil, corrupt("%d bytes for a GIN segment", len(b))
	}
	n := int(le.Uint16(b[tidSize:]))
	n = ginSegHeader + n + n%2
	if n > len(b) {
		return nil, corrupt("GIN segment of %d bytes in %d", n, len(b))
	}
	return b[:n], nil
}

// ginWriter fills the room for segments on a page.
type ginWriter struct {
	b []byte
	n int
}

func (w *ginWriter) put(b []byte) error {
	if len(b) > len(w.b)-w.n {
		return corrupt("%d bytes of segments more than the %d on the GIN leaf have no room", len(b), w.n)
	}
	w.n += copy(w.b[w.n:], b)
	return nil
}

// ginTIDs reads TIDs: those of a segment, or plain ones.
type ginTIDs struct {
	plain  []byte // TIDs of 6 bytes each
	packed []byte // distances, once plain has none left
	tid    uint64 // the one at hand, if not done
	done   bool
}

// ginSegmentTIDs reads a segment as ginSegmentAt gives it.
func ginSegmentTIDs(s []byte) ginTIDs {
	n := int(le.Uint16(s[tidSize:]))
	return ginTIDs{plain: s[:tidSize], packed: s[ginSegHeader : ginSegHeader+n]}
}

func (t *ginTIDs) next() error {
	switch {
	case len(t.plain) > 0:
		block := uint64(le.Uint16(t.plain))<<16 | uint64(le.Uint16(t.plain[2:]))
		item := le.Uint16(t.plain[tidItem:])
		if item >= 1<<ginItemBits {
			return corrupt("TID with item number %d in a GIN index", item)
		}
		t.tid = block<<ginItemBits | uint64(item)
		t.plain = t.plain[tidSize:]
	case len(t.packed) > 0:
		distance, n := uint64(0), 0
		for {
			if n == len(t.packed) || n == ginVarMax {
				return corrupt("a distance in a GIN segment has no end")
			}
			b := t.packed[n]
			distance |= uint64(b&0x7F) << (ginVarBits * n)
			n++
			if b&0x80 == 0 {
				break
			}
		}
		t.packed = t.packed[n:]
		t.tid += distance
	default:
		t.done = true
	}
	return nil
}

// ginPacker writes TIDs, which ascend, as a segment.
type ginPacker struct {
	w     *ginWriter
	start int // where in w the segment starts
	last  uint64
	any   bool
}

func (p *ginPacker) add(tid uint64) error {
	var buf [ginSegHeader]byte
	if !p.any {
		p.any, p.last = true, tid
		block := tid >> ginItemBits
		le.PutUint16(buf[tidBlockHigh:], uint16(block>>16))
		le.PutUint16(buf[tidBlockLow:], uint16(block))
		le.PutUint16(buf[tidItem:], uint16(tid&(1<<ginItemBits-1)))
		return p.w.put(buf[:])
	}
	if tid <= p.last || tid>>ginItemBits > ginNone {
		return corrupt("TIDs of a GIN segment do not ascend")
	}
	n, rest := 0, tid-p.last
	for ; rest > 0x7F; rest >>= ginVarBits {
		buf[n] = 0x80 | byte(rest)
		n++
	}
	buf[n] = byte(rest)
	p.last = tid
	return p.w.put(buf[:n+1])
}

func (p *ginPacker) finish() error {
	if !p.any {
		return corrupt("a GIN segment without TIDs")
	}
	n := p.w.n - p.start - ginSegHeader
	le.PutUint16(p.w.b[p.start+tidSize:], uint16(n))
	if n%2 != 0 {
		return p.w.put([]byte{0})
	}
	return nil
}

// ginCompressPage packs the TIDs of a leaf that a server before 9.4 wrote, into one segment. Such a page
// came by pg_upgrade; it has plain TIDs, as many as its special space says.
func ginCompressPage(p bufpage.Page, o ginOpaque) error {
	size := o.count() * tidSize
	if size > ginDataMax {
		return corrupt("%d TIDs on a GIN leaf", o.count())
	}
	var before [ginDataMax]byte
	tids := ginTIDs{plain: before[:copy(before[:], p[ginDataAt:ginDataAt+size])]}
	w := ginWriter{b: p[ginDataAt : ginDataAt+ginDataMax]}
	if size > 0 {
		pack := ginPacker{w: &w}
		for {
			if err := tids.next(); err != nil {
				return err
			}
			if tids.done {
				break
			}
			if err := pack.add(tids.tid); err != nil {
				return err
			}
		}
		if err := pack.finish(); err != nil {
			return err
		}
	}
	ginSetDataSize(p, w.n)
	o.setFlags(o.flags() | ginCompressed)
	o.setCount(0)
	return nil
}
