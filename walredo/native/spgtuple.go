package native

import (
	"math"
	"slices"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// The special space of an SP-GiST page, SpGistPageOpaqueData (access/spgist_private.h).
const (
	spgFlags        = 0 // u16
	spgRedirects    = 2 // u16 number of redirects on the page
	spgPlaceholders = 4 // u16 number of placeholders
	spgMark         = 6 // u16
	spgOpaqueSize   = 8

	spgPageID = 0xFF82

	spgLeaf  = 1 << 2 // flags
	spgNulls = 1 << 3
)

// spgOpaque is the special space of an SP-GiST page.
type spgOpaque []byte

// spgPage gives the special space of the page at work.
func spgPage(c *change) (spgOpaque, error) {
	return specialOf(c.page, spgOpaqueSize, spgPageID, "SP-GiST")
}

// spgInit makes an empty page.
func spgInit(p bufpage.Page, flags uint16) spgOpaque {
	p.Init(spgOpaqueSize)
	o := spgOpaque(p[pg.BlockSize-spgOpaqueSize:])
	le.PutUint16(o[spgFlags:], flags)
	le.PutUint16(o[spgMark:], spgPageID)
	return o
}

// add changes one of the counts.
func (o spgOpaque) add(field, n int) error {
	v := int(le.Uint16(o[field:])) + n
	if v < 0 || v > math.MaxUint16 {
		return corrupt("the page would have %d redirects or placeholders", v)
	}
	le.PutUint16(o[field:], uint16(v))
	return nil
}

// count adds n dead tuples of a kind to the counts. Only two kinds are counted.
func (o spgOpaque) count(dead spgDead, n int) error {
	switch spgTuple(dead[:]).state() {
	case spgRedirect:
		return o.add(spgRedirects, n)
	case spgPlaceholder:
		return o.add(spgPlaceholders, n)
	}
	return nil
}

// All tuples begin with their state in two bits. Leaf tuples and dead ones have their size in the other 30
// and then
//
//	4  u16     next in the chain in 14 bits, has-nulls flag in the highest
//	6  6 bytes TID of a heap tuple; of a redirect, where it leads
//	12 u32     of dead tuples, the transaction that a redirect is due to
//
// Inner tuples have a flag in one bit, the number of nodes in 13, the length of their prefix in 16, and
//
//	4  u16     size
//	8          prefix, then the nodes, each an index tuple whose TID is the downlink
const (
	spgLive        = 0
	spgRedirect    = 1
	spgDeadState   = 2
	spgPlaceholder = 3
	spgStates      = 3

	spgChain      = 4
	spgChainMask  = 0x3FFF
	spgPointer    = 6
	spgXid        = 12
	spgDeadSize   = 16 // also the least size of a leaf tuple
	spgInnerSize  = 4
	spgInnerBegin = 8
)

// spgTuple is the bytes of an SP-GiST tuple of any kind.
type spgTuple []byte

func (t spgTuple) state() uint32 { return le.Uint32(t) & spgStates }

func (t spgTuple) setChain(next int) {
	le.PutUint16(t[spgChain:], le.Uint16(t[spgChain:])&^spgChainMask|uint16(next)&spgChainMask)
}

// setNode sets the downlink of a node of an inner tuple.
func (t spgTuple) setNode(node int, block uint32, item uint16) error {
	head := le.Uint32(t)
	nodes, prefix := int(head>>3&0x1FFF), int(head>>16)
	if head&spgStates != spgLive || node >= nodes {
		return corrupt("no node %d in an inner tuple of %d nodes in state %d", node, nodes, head&spgStates)
	}
	_, rest, err := take(t, spgInnerBegin+prefix, "prefix")
	if err != nil {
		return err
	}
	for ; ; node-- {
		size, err := tupleSize(rest)
		if err != nil {
			return err
		}
		if node == 0 {
			btTuple(rest).setBlock(block)
			btTuple(rest).setItem(item)
			return nil
		}
		rest = rest[size:]
	}
}

// spgItem gives tuple n of a page.
func spgItem(p bufpage.Page, n int) (spgTuple, error) {
	return itemOf(p, n, spgDeadSize, spgOpaqueSize)
}

// spgTakeLeaf takes the leaf tuple that starts b.
func spgTakeLeaf(b []byte) (t spgTuple, rest []byte, err error) {
	if len(b) < spgDeadSize {
		return nil, nil, corrupt("%d bytes for a leaf tuple", len(b))
	}
	size := le.Uint32(b) >> 2
	if size < spgDeadSize || size%8 != 0 || size > pg.BlockSize {
		return nil, nil, corrupt("leaf tuple of %d bytes", size)
	}
	return spgTake(b, int(size), "leaf tuple")
}

// spgTakeInner takes the inner tuple that starts b.
func spgTakeInner(b []byte) (t spgTuple, rest []byte, err error) {
	if len(b) < spgInnerBegin {
		return nil, nil, corrupt("%d bytes for an inner tuple", len(b))
	}
	size := int(le.Uint16(b[spgInnerSize:]))
	if size < spgDeadSize || size%8 != 0 {
		return nil, nil, corrupt("inner tuple of %d bytes", size)
	}
	return spgTake(b, size, "inner tuple")
}

func spgTake(b []byte, size int, what string) (spgTuple, []byte, error) {
	return take(b, size, what)
}

// spgState is what a record carries to make dead tuples of (spgxlogState).
type spgState struct {
	xid   uint32
	build bool // nobody searches the index yet
}

// spgStateAt reads a state: u32, bool, padding.
func spgStateAt(b []byte) spgState { return spgState{le.Uint32(b), b[4] != 0} }

// spgDead is a dead tuple.
type spgDead [spgDeadSize]byte

// spgDeadTuple makes a dead tuple that leads nowhere.
func spgDeadTuple(state uint32) (t spgDead) {
	le.PutUint32(t[:], spgDeadSize<<2|state)
	btTuple(t[spgPointer:]).setBlock(0xFFFFFFFF)
	return t
}

// moved makes what is left in the place of a tuple that moved: a redirect, if somebody may come for it.
func (s spgState) moved(block uint32, item uint16) spgDead {
	if s.build {
		return spgDeadTuple(spgPlaceholder)
	}
	t := spgDeadTuple(spgRedirect)
	btTuple(t[spgPointer:]).setBlock(block)
	btTuple(t[spgPointer:]).setItem(item)
	le.PutUint32(t[spgXid:], s.xid)
	return t
}

// spgPlace adds a tuple at exactly the given number: behind the last, or in the place of a placeholder.
func spgPlace(p bufpage.Page, o spgOpaque, t spgTuple, n int) error {
	if n > p.MaxOffset() {
		return addItemAt(p, t, n)
	}
	old, err := spgItem(p, n)
	if err != nil {
		return err
	}
	if s := old.state(); s != spgPlaceholder {
		return corrupt("item %d is in state %d, no placeholder", n, s)
	}
	if err := o.add(spgPlaceholders, -1); err != nil {
		return err
	}
	return replaceItem(p, t, n)
}

// spgBury puts dead tuples in the place of items: first for the one listed first, others for the rest.
func spgBury(p bufpage.Page, o spgOpaque, list []byte, first, others spgDead) error {
	var buf [bufpage.MaxIndexTuples]uint16
	numbers, err := numbersOf(list, &buf)
	if err != nil || len(numbers) == 0 {
		return err
	}
	head := numbers[0]
	slices.Sort(numbers)
	if err := deleteAscending(p, numbers); err != nil {
		return err
	}
	for _, item := range numbers {
		dead := &others
		if item == head {
			dead = &first
		}
		if err := addItemAt(p, dead[:], int(item)); err != nil {
			return err
		}
		if err := o.count(*dead, 1); err != nil {
			return err
		}
	}
	return nil
}
