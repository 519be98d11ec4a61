package native

import (
	"math"
	"math/bits"

	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// The metapage of a hash index, HashMetaPageData (access/hash.h), behind the page header.
const (
	hmMagic     = 0   // u32
	hmVersion   = 4   // u32
	hmTuples    = 8   // float64 tuples in the index
	hmFill      = 16  // u16 tuples per bucket aimed at
	hmBlock     = 18  // u16 room on a page
	hmMapBytes  = 20  // u16 bytes of a bitmap page that are used
	hmMapShift  = 22  // u16 logarithm of their number of bits
	hmMaxBucket = 24  // u32
	hmHighMask  = 28  // u32
	hmLowMask   = 32  // u32
	hmPoint     = 36  // u32 split point that overflow pages are allocated for
	hmFirstFree = 40  // u32 lowest bit of a free overflow page
	hmMaps      = 44  // u32 number of bitmap pages
	hmProc      = 48  // u32
	hmSpares    = 52  // u32 each: overflow pages before a split point
	hmMapBlocks = 444 // u32 each: the bitmap pages
	hmSize      = 4544

	hmMaxPoints = (hmMapBlocks - hmSpares) / 4
	hmMaxMaps   = 1024

	hashMagic   = 0x6440640
	hashVersion = 4
)

// hashMetaData is the content of a metapage.
type hashMetaData []byte

// hashMeta gives the content of the page at work, which must be a metapage.
func hashMeta(c *change) (hashMetaData, error) {
	o, err := hashPage(c)
	if err != nil {
		return nil, err
	}
	if o.flags()&hashTypes != hashMetaPage {
		return nil, corrupt("the page is no hash metapage: its flags are %04X", o.flags())
	}
	return hashMetaData(c.page[bufpage.HeaderSize : bufpage.HeaderSize+hmSize]), nil
}

func (m hashMetaData) u32(at int) uint32          { return le.Uint32(m[at:]) }
func (m hashMetaData) set32(at int, v uint32)     { le.PutUint32(m[at:], v) }
func (m hashMetaData) set16(at int, v uint16)     { le.PutUint16(m[at:], v) }
func (m hashMetaData) tuples() float64            { return math.Float64frombits(le.Uint64(m[hmTuples:])) }
func (m hashMetaData) setTuples(n float64)        { le.PutUint64(m[hmTuples:], math.Float64bits(n)) }
func (m hashMetaData) setSpares(i, v uint32)      { m.set32(hmSpares+4*int(i), v) }
func (m hashMetaData) spares(i uint32) uint32     { return m.u32(hmSpares + 4*int(i)) }
func (m hashMetaData) point() (i uint32, ok bool) { i = m.u32(hmPoint); return i, i < hmMaxPoints }

// addMap notes another bitmap page.
func (m hashMetaData) addMap(block uint32) error {
	n := m.u32(hmMaps)
	if n >= hmMaxMaps {
		return corrupt("the metapage has %d bitmap pages already", n)
	}
	m.set32(hmMapBlocks+4*int(n), block)
	m.set32(hmMaps, n+1)
	return nil
}

// hashInitMeta makes the metapage of an index for an expected number of tuples. Data: that number float64,
// the hash function u32, tuples per bucket u16.
func hashInitMeta(c *change) error {
	const size = 14
	main, err := c.main(size)
	if err != nil {
		return err
	}
	if c.blk.ID != 0 {
		return noBlock(c)
	}
	tuples, fill := math.Float64frombits(le.Uint64(main)), le.Uint16(main[12:])
	if fill == 0 || math.IsNaN(tuples) {
		return corrupt("a hash index for %v tuples, %d per bucket", tuples, fill)
	}
	buckets := hashFirstBuckets(tuples / float64(fill))
	point := hashPoint(buckets)
	high := uint32(1)<<bits.Len32(buckets) - 1

	hashInit(c.page, hashNone, hashNone, hashMetaPage)
	m := hashMetaData(c.page[bufpage.HeaderSize:])
	const room = pg.BlockSize - bufpage.HeaderSize - hashOpaqueSize
	const mapLog = 12 // of the largest power of two within room
	m.set32(hmMagic, hashMagic)
	m.set32(hmVersion, hashVersion)
	m.set16(hmFill, fill)
	m.set16(hmBlock, room)
	m.set16(hmMapBytes, 1<<mapLog)
	m.set16(hmMapShift, mapLog+3)
	m.set32(hmProc, le.Uint32(main[8:]))
	m.set32(hmMaxBucket, buckets-1)
	m.set32(hmHighMask, high)
	m.set32(hmLowMask, high>>1)
	m.setSpares(point, 1)
	m.set32(hmPoint, point)
	c.page.SetLower(bufpage.HeaderSize + hmSize)
	return hashDone(c)
}

// Buckets are allocated in groups that double the table, the later ones in four phases each.
const (
	hashOnePhase   = 10 // groups of one phase
	hashPhaseBits  = 2
	hashPhases     = 1 << hashPhaseBits
	hashMaxBuckets = 1 << 30
)

// hashFirstBuckets is the number of buckets that an index begins with if it needs n of them: a number up
// to which buckets are allocated together.
func hashFirstBuckets(n float64) uint32 {
	switch {
	case n <= 2:
		return 2
	case n >= hashMaxBuckets:
		return hashMaxBuckets
	}
	point := hashPoint(uint32(n))
	if point < hashOnePhase {
		return 1 << point
	}
	point -= hashOnePhase
	half := uint32(1) << (hashOnePhase + point>>hashPhaseBits - 1)
	return half + half>>hashPhaseBits*(point%hashPhases+1)
}

// hashPoint is the split point at which a table gets that many buckets: groups and phases counted through.
func hashPoint(buckets uint32) uint32 {
	group := uint32(bits.Len32(buckets - 1))
	if group < hashOnePhase {
		return group
	}
	phase := (buckets - 1) >> (group - hashPhaseBits - 1) % hashPhases
	return hashOnePhase + (group-hashOnePhase)<<hashPhaseBits + phase
}

// hashInitBitmap makes a bitmap page (block 0), all bits set, and notes it on the metapage (block 1), as
// the one behind the buckets. Data: bytes used u16.
func hashInitBitmap(c *change) error {
	const size = 2
	main, err := c.main(size)
	if err != nil {
		return err
	}
	switch c.blk.ID {
	case 0:
		return hashMakeBitmap(c, int(le.Uint16(main)))
	case 1:
		m, err := hashMeta(c)
		if err != nil {
			return err
		}
		if err := m.addMap(m.u32(hmMaxBucket) + 2); err != nil {
			return err
		}
		return hashDone(c)
	}
	return noBlock(c)
}

func hashMakeBitmap(c *change, size int) error {
	if size > pg.BlockSize-bufpage.HeaderSize-hashOpaqueSize {
		return corrupt("bitmap of %d bytes", size)
	}
	hashInit(c.page, hashNone, hashNone, hashBitmapPage)
	b := c.page[bufpage.HeaderSize : bufpage.HeaderSize+size]
	for i := range b {
		b[i] = 0xFF
	}
	c.page.SetLower(bufpage.HeaderSize + size)
	return hashDone(c)
}

// hashSetBit sets or clears the bit of a bitmap page whose number the block data has, a u32.
func hashSetBit(c *change, on bool) error {
	o, err := hashPage(c)
	if err != nil {
		return err
	}
	if o.flags()&hashTypes != hashBitmapPage || len(c.blk.Data) < 4 {
		return corrupt("%d bytes of bit number for a page with flags %04X", len(c.blk.Data), o.flags())
	}
	bit := le.Uint32(c.blk.Data)
	at := uint64(bufpage.HeaderSize) + uint64(bit/8)
	if at >= pg.BlockSize-hashOpaqueSize {
		return corrupt("bit %d is beyond the bitmap page", bit)
	}
	if on {
		c.page[at] |= 1 << (bit % 8)
	} else {
		c.page[at] &^= 1 << (bit % 8)
	}
	return hashDone(c)
}

// hashSetFirstFree takes the lowest free bit from the block data, a u32.
func hashSetFirstFree(c *change) (hashMetaData, error) {
	m, err := hashMeta(c)
	if err != nil {
		return nil, err
	}
	if len(c.blk.Data) < 4 {
		return nil, corrupt("%d bytes for the first free page", len(c.blk.Data))
	}
	m.set32(hmFirstFree, le.Uint32(c.blk.Data))
	return m, nil
}

// hashUpdateMeta sets the number of tuples to what VACUUM counted. Data: float64.
func hashUpdateMeta(c *change) error {
	const size = 8
	main, err := c.main(size)
	if err != nil {
		return err
	}
	if c.blk.ID != 0 {
		return noBlock(c)
	}
	m, err := hashMeta(c)
	if err != nil {
		return err
	}
	m.setTuples(math.Float64frombits(le.Uint64(main)))
	return hashDone(c)
}
