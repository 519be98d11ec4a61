package walgen

import (
	"encoding/binary"

	"github.com/stratapg/strata/page"
)

// Block is a block reference to write.
type Block struct {
	ID       uint8
	Rel      page.RelTag
	Blkno    uint32
	WillInit bool
	SameRel  bool // leave the relation out
	Data     []byte
	Image    *Image
}

// Image is a page image to write, as it is to be stored.
type Image struct {
	Bytes      []byte
	HoleOffset uint16
	HoleLength uint16 // written only with a compressed image that has a hole
	Info       uint8  // bimg_info, with the version's bits
	Compressed bool
}

// Extra has parts that a body may have besides; zero leaves them out.
type Extra struct {
	Origin uint16
	TopXid uint32
}

// Body makes what follows a record's header: the headers of blocks and main data, then their bytes.
func Body(main []byte, blocks ...Block) []byte { return BodyWith(Extra{}, main, blocks...) }

// BodyWith is Body with an origin or top-level transaction.
func BodyWith(x Extra, main []byte, blocks ...Block) []byte {
	le := binary.LittleEndian
	var head, data []byte
	for _, b := range blocks {
		head, data = b.put(head, data)
	}
	if x.Origin != 0 {
		head = le.AppendUint16(append(head, 253), x.Origin)
	}
	if x.TopXid != 0 {
		head = le.AppendUint32(append(head, 252), x.TopXid)
	}
	switch n := len(main); {
	case n > 255:
		head = le.AppendUint32(append(head, 254), uint32(n))
	case n > 0:
		head = append(head, 255, byte(n))
	}
	return append(append(head, data...), main...)
}

// put appends the reference's header to head and its bytes to data.
func (b Block) put(head, data []byte) ([]byte, []byte) {
	le := binary.LittleEndian
	flags := byte(b.Rel.Fork)
	for _, f := range []struct {
		on  bool
		bit byte
	}{{b.Image != nil, 0x10}, {len(b.Data) > 0, 0x20}, {b.WillInit, 0x40}, {b.SameRel, 0x80}} {
		if f.on {
			flags |= f.bit
		}
	}
	head = le.AppendUint16(append(head, b.ID, flags), uint16(len(b.Data)))
	if i := b.Image; i != nil {
		head = le.AppendUint16(head, uint16(len(i.Bytes)))
		head = append(le.AppendUint16(head, i.HoleOffset), i.Info)
		if i.Compressed && i.Info&1 != 0 {
			head = le.AppendUint16(head, i.HoleLength)
		}
		data = append(data, i.Bytes...)
	}
	if !b.SameRel {
		head = le.AppendUint32(head, b.Rel.Spc)
		head = le.AppendUint32(head, b.Rel.DB)
		head = le.AppendUint32(head, b.Rel.Rel)
	}
	return le.AppendUint32(head, b.Blkno), append(data, b.Data...)
}
