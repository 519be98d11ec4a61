package layer

import (
	"fmt"
	"math/bits"

	"github.com/stratapg/strata/page"
)

// mapKey is a key as words that order as keys do: its 144 bits from the left.
type mapKey struct {
	a, b uint64
	c    uint16
}

// keyBits is the number of bits of a key.
const keyBits = 8 * page.KeySize

func packKey(k page.Key) mapKey {
	return mapKey{
		a: uint64(k.F1)<<56 | uint64(k.F2)<<24 | uint64(k.F3)>>8,
		b: uint64(k.F3)<<56 | uint64(k.F4)<<24 | uint64(k.F5)<<16 | uint64(k.F6)>>16,
		c: uint16(k.F6),
	}
}

func (k mapKey) key() page.Key {
	return page.Key{F1: uint8(k.a >> 56), F2: uint32(k.a >> 24), F3: uint32(k.a)<<8 | uint32(k.b>>56),
		F4: uint32(k.b >> 24), F5: uint8(k.b >> 16), F6: uint32(k.b)<<16 | uint32(k.c)}
}

// below gives 1 if k orders before o, else 0, without a branch: it is the borrow of k - o.
func (k mapKey) below(o mapKey) uint64 {
	_, x := bits.Sub64(uint64(k.c), uint64(o.c), 0)
	_, x = bits.Sub64(k.b, o.b, x)
	_, x = bits.Sub64(k.a, o.a, x)
	return x
}

func (k mapKey) less(o mapKey) bool { return k.below(o) != 0 }

func (k mapKey) compare(o mapKey) int { return int(o.below(k)) - int(k.below(o)) }

// prev gives the key before k, which must not be the lowest.
func (k mapKey) prev() mapKey {
	c, x := bits.Sub64(uint64(k.c), 1, 0)
	b, x := bits.Sub64(k.b, 0, x)
	return mapKey{k.a - x, b, uint16(c)}
}

// bit gives bit n from the left.
func (k mapKey) bit(n uint) uint64 {
	switch {
	case n < 64:
		return k.a >> (63 - n) & 1
	case n < 128:
		return k.b >> (127 - n) & 1
	}
	return uint64(k.c) >> (143 - n) & 1
}

// window gives 64 bits from bit n on, below keyBits, with zeros behind the last.
func (k *mapKey) window(n uint) uint64 {
	switch {
	case n < 64:
		return k.a<<(n&63) | k.b>>1>>(63-n&63)
	case n < 128:
		return k.b<<(n&63) | uint64(k.c)<<48>>1>>(63-n&63)
	}
	return uint64(k.c) << 48 << (n & 63)
}

// firstDifference gives the number of the first bit in which k and o differ; keyBits if none does.
func (k mapKey) firstDifference(o mapKey) uint {
	if x := k.a ^ o.a; x != 0 {
		return uint(bits.LeadingZeros64(x))
	}
	if x := k.b ^ o.b; x != 0 {
		return 64 + uint(bits.LeadingZeros64(x))
	}
	return 128 + uint(bits.LeadingZeros16(k.c^o.c))
}

// rect is a rectangle of keys [start, end) and LSNs [lo, hi): that of one layer, or the smallest one around
// several.
type rect struct {
	sa, sb, ea, eb uint64
	lo, hi         page.LSN
	sc, ec         uint16
	// n is the number of layers within. A single layer keeps its generation there.
	n uint32
}

func (r *rect) start() mapKey { return mapKey{r.sa, r.sb, r.sc} }
func (r *rect) end() mapKey   { return mapKey{r.ea, r.eb, r.ec} }

func (r *rect) setStart(k mapKey) { r.sa, r.sb, r.sc = k.a, k.b, k.c }
func (r *rect) setEnd(k mapKey)   { r.ea, r.eb, r.ec = k.a, k.b, k.c }

func (r *rect) keys() page.Range { return page.Range{Start: r.start().key(), End: r.end().key()} }

func (r *rect) lsns() page.LSNRange { return page.LSNRange{Start: r.lo, End: r.hi} }

// covers reports whether k lies between start and end. Written out, as it is what a search does most.
func (r *rect) covers(k *mapKey) bool {
	_, x := bits.Sub64(uint64(k.c), uint64(r.sc), 0)
	_, x = bits.Sub64(k.b, r.sb, x)
	_, x = bits.Sub64(k.a, r.sa, x)
	_, y := bits.Sub64(uint64(k.c), uint64(r.ec), 0)
	_, y = bits.Sub64(k.b, r.eb, y)
	_, y = bits.Sub64(k.a, r.ea, y)
	return x < y
}

// split gives the first bit in which the rectangle's first and last key differ: keyBits for a single key.
func (r *rect) split() uint { return r.start().firstDifference(r.end().prev()) }

// grow makes r, of n layers, hold o too, which is one of count layers.
func (r *rect) grow(o *rect, count uint32) {
	if r.n == 0 {
		*r = *o
		r.n = count
		return
	}
	if o.start().less(r.start()) {
		r.setStart(o.start())
	}
	if r.end().less(o.end()) {
		r.setEnd(o.end())
	}
	r.lo, r.hi, r.n = min(r.lo, o.lo), max(r.hi, o.hi), r.n+count
}

// packed is a layer of the map, its description packed into one cache line.
type packed struct {
	rect
	size uint64 // with the flags in its highest bits
}

const (
	flagImage     = 1 << 63
	flagChecked   = 1 << 62
	maxPackedSize = flagChecked - 1
)

// packDesc checks and packs a description.
func packDesc(d *Desc) (packed, error) {
	if err := checkRanges(d.Keys, d.LSNs); err != nil {
		return packed{}, fmt.Errorf("layer %s: %w", d.Name(), err)
	}
	if d.Size < 0 || d.Size > maxPackedSize {
		return packed{}, fmt.Errorf("layer %s: %w: no file has %d bytes", d.Name(), ErrOrder, d.Size)
	}
	e := packed{size: uint64(d.Size)}
	e.setStart(packKey(d.Keys.Start))
	e.setEnd(packKey(d.Keys.End))
	e.lo, e.hi, e.n = d.LSNs.Start, d.LSNs.End, d.Generation
	if d.Image {
		e.size |= flagImage
	}
	if d.Checked {
		e.size |= flagChecked
	}
	return e, nil
}

func (e *packed) image() bool { return e.size&flagImage != 0 }

func (e *packed) desc() Desc {
	return Desc{Keys: e.keys(), LSNs: e.lsns(), Image: e.image(), Checked: e.size&flagChecked != 0,
		Size: int64(e.size & maxPackedSize), Generation: e.n}
}

// comparePacked orders layers of one kind by end LSN, start LSN and keys; it gives 0 for the same layer only.
func comparePacked(a, b *packed) int {
	switch {
	case a.hi != b.hi:
		return compareLSN(a.hi, b.hi)
	case a.lo != b.lo:
		return compareLSN(a.lo, b.lo)
	}
	if c := a.start().compare(b.start()); c != 0 {
		return c
	}
	return a.end().compare(b.end())
}

func compareLSN(a, b page.LSN) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
