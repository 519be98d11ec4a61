package bufpage

import (
	"encoding/binary"

	"github.com/stratapg/strata/pg"
)

// The checksum is 32 FNV-like hashes side by side over the page's 32-bit words, folded into one, mixed with
// the block number and cut to 16 bits (storage/checksum_impl.h).
const (
	sums     = 32
	fnvPrime = 16777619
	rowSize  = sums * 4
	// lanes of the hashes are computed together, so that the processor has independent work.
	lanes = 8
)

// checksumBase are the hashes' initial values.
var checksumBase = [sums]uint32{
	0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
	0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
	0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
	0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
}

func mix(sum, word uint32) uint32 {
	t := sum ^ word
	return t*fnvPrime ^ t>>17
}

// Checksum computes the checksum that a page should carry as block number block, counted over the whole
// relation. What pd_checksum holds does not matter. A new (zero) page carries none.
func Checksum(p Page, block uint32) uint16 {
	var sum uint32
	b := []byte(p)[:pg.BlockSize:pg.BlockSize]
	for lane := 0; lane < sums; lane += lanes {
		sum ^= foldLanes(b, lane)
	}
	sum ^= block
	return uint16(sum%65535 + 1)
}

// foldLanes hashes lanes columns of the page from the given one on and xors them.
func foldLanes(b []byte, lane int) uint32 {
	le := binary.LittleEndian
	s := checksumBase[lane : lane+lanes : lane+lanes]
	s0, s1, s2, s3, s4, s5, s6, s7 := s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
	// pd_checksum counts as 0; it is the low half of word 2.
	own := uint32(0)
	if lane == 0 {
		own = uint32(le.Uint16(b[offChecksum:]))
	}
	for off := lane * 4; off < pg.BlockSize; off += rowSize {
		w := b[off : off+4*lanes : off+4*lanes]
		s0 = mix(s0, le.Uint32(w[0:]))
		s1 = mix(s1, le.Uint32(w[4:]))
		s2 = mix(s2, le.Uint32(w[8:])^own)
		s3 = mix(s3, le.Uint32(w[12:]))
		s4 = mix(s4, le.Uint32(w[16:]))
		s5 = mix(s5, le.Uint32(w[20:]))
		s6 = mix(s6, le.Uint32(w[24:]))
		s7 = mix(s7, le.Uint32(w[28:]))
		own = 0
	}
	r := uint32(0)
	for _, v := range [lanes]uint32{s0, s1, s2, s3, s4, s5, s6, s7} {
		r ^= mix(mix(v, 0), 0)
	}
	return r
}

// SetChecksum stores the checksum of the page as the given block, unless the page is new.
func (p Page) SetChecksum(block uint32) {
	if !p.IsNew() {
		p.SetStoredChecksum(Checksum(p, block))
	}
}

// ChecksumOK reports whether the stored checksum is right; a zero page has none and is right.
func (p Page) ChecksumOK(block uint32) bool {
	if p.IsNew() {
		return p.IsZero()
	}
	return p.StoredChecksum() == Checksum(p, block)
}
