package wal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Compression says how a page image is stored.
type Compression uint8

// The compressions of wal_compression.
const (
	Uncompressed Compression = iota
	PGLZ
	LZ4
	Zstd
)

// String gives the name that wal_compression takes.
func (c Compression) String() string {
	switch c {
	case Uncompressed:
		return "off"
	case PGLZ:
		return "pglz"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("compression%d", uint8(c))
}

// Block is a record's reference to a page.
type Block struct {
	ID    uint8
	Rel   page.RelTag
	Blkno uint32
	// HasImage says that the record holds a copy of the page. Apply: redo puts it in place of the page;
	// without it the copy is there to check redo against (wal_consistency_checking).
	HasImage, Apply bool
	// WillInit: redo makes the page anew, whatever it was. HasData: Data is not empty.
	WillInit, HasData bool
	// Compression, HoleOffset and HoleLength say how Image, the copy as stored, becomes a page: see RestoreImage.
	Compression            Compression
	HoleOffset, HoleLength uint16
	Image                  []byte
	Data                   []byte
}

var (
	errShort   = errors.New("the record ends within its headers")
	errSameRel = errors.New("says \"same relation\" where none came before")
)

// block reads a block reference: its header, the image's header, the relation and the block number. Image
// and Data get their lengths here, from any bytes of the record, and their bytes from deal.
//
//	id u8, fork and flags u8, data length u16,
//	with an image: image length u16, hole offset u16, bimg_info u8, if compressed with a hole: its length u16,
//	unless the same relation: tablespace u32, database u32, relation u32,
//	block number u32
func (h *headerParser) block(id uint8) error {
	if int(id) <= h.lastID {
		return fmt.Errorf("comes after block reference %d", h.lastID)
	}
	h.lastID = int(id)
	if len(h.rest) < 4 {
		return errShort
	}
	le := binary.LittleEndian
	flags := h.rest[1]
	dataLen := le.Uint16(h.rest[2:])
	h.rest = h.rest[4:]
	b := h.next()
	b.ID = id
	b.HasImage, b.HasData, b.WillInit = flags&flagImage != 0, flags&flagData != 0, flags&flagInit != 0
	if b.HasData != (dataLen > 0) {
		return fmt.Errorf("has %d bytes of data where its flags %02X say otherwise", dataLen, flags)
	}
	fork := page.Fork(flags & 0x0F)
	if fork > page.ForkInit {
		return fmt.Errorf("fork %d does not exist", fork)
	}
	imageLen := uint16(0)
	if b.HasImage {
		var err error
		if imageLen, err = h.imageHeader(b); err != nil {
			return err
		}
	}
	if flags&flagSameRel == 0 {
		if len(h.rest) < 12 {
			return errShort
		}
		h.rel = page.RelTag{Spc: le.Uint32(h.rest), DB: le.Uint32(h.rest[4:]), Rel: le.Uint32(h.rest[8:])}
		h.haveRel = true
		h.rest = h.rest[12:]
	} else if !h.haveRel {
		return errSameRel
	}
	if len(h.rest) < 4 {
		return errShort
	}
	b.Rel, b.Blkno = h.rel, le.Uint32(h.rest)
	b.Rel.Fork = fork
	h.rest = h.rest[4:]
	return h.reserve(b, int(imageLen), int(dataLen))
}

// next gives a cleared block at the end of the record's blocks.
func (h *headerParser) next() *Block {
	blocks := h.rec.Blocks
	if len(blocks) < cap(blocks) {
		blocks = blocks[:len(blocks)+1]
		blocks[len(blocks)-1] = Block{}
	} else {
		blocks = append(blocks, Block{})
	}
	h.rec.Blocks = blocks
	return &blocks[len(blocks)-1]
}

// reserve remembers how much of the data is the block's.
func (h *headerParser) reserve(b *Block, imageLen, dataLen int) error {
	raw := h.rec.Raw
	if imageLen > len(raw) || dataLen > len(raw) {
		return errShort
	}
	b.Image, b.Data = raw[:imageLen], raw[:dataLen]
	h.total += uint32(imageLen) + uint32(dataLen)
	return nil
}

// imageHeader reads what says how the image is stored and checks that it makes a page.
func (h *headerParser) imageHeader(b *Block) (length uint16, err error) {
	if len(h.rest) < 5 {
		return 0, errShort
	}
	le := binary.LittleEndian
	length = le.Uint16(h.rest)
	b.HoleOffset = le.Uint16(h.rest[2:])
	info := h.rest[4]
	h.rest = h.rest[5:]
	bits := h.f.image
	b.Apply = info&bits.apply != 0
	b.Compression = bits.compression(info)
	hole := info&imageHasHole != 0
	switch {
	case b.Compression == Uncompressed:
		if length > pg.BlockSize {
			return 0, fmt.Errorf("image of %d bytes: larger than a page", length)
		}
		b.HoleLength = pg.BlockSize - length
	case hole:
		if len(h.rest) < 2 {
			return 0, errShort
		}
		b.HoleLength = le.Uint16(h.rest)
		h.rest = h.rest[2:]
	}
	return length, b.checkImage(hole, length)
}

// checkImage makes the cross-checks of PostgreSQL's DecodeXLogRecord and that the hole lies in the page.
func (b *Block) checkImage(hole bool, length uint16) error {
	if hole && (b.HoleOffset == 0 || b.HoleLength == 0) || !hole && (b.HoleOffset != 0 || b.HoleLength != 0) ||
		int(b.HoleOffset)+int(b.HoleLength) > pg.BlockSize {
		return fmt.Errorf("image of %d bytes with a hole of %d at %d (hole flag %v)", length, b.HoleLength, b.HoleOffset, hole)
	}
	if b.Compression != Uncompressed && length >= pg.BlockSize {
		return fmt.Errorf("image of %d bytes said to be compressed", length)
	}
	return nil
}

// compression finds the method in bimg_info; of several, that which PostgreSQL would take.
func (b imageBits) compression(info uint8) Compression {
	switch {
	case info&b.pglz != 0:
		return PGLZ
	case info&b.lz4 != 0:
		return LZ4
	case info&b.zstd != 0:
		return Zstd
	}
	return Uncompressed
}
