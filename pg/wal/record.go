package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// recordHeader is SizeOfXLogRecord.
//
//	 0  xl_tot_len  u32   whole record
//	 4  xl_xid      u32
//	 8  xl_prev     u64   start of the record before
//	16  xl_info     u8    low 4 bits: flags for all, high 4 bits: the resource manager's
//	17  xl_rmid     u8
//	20  xl_crc      u32   CRC-32C of [24, end) and then [0, 20)
const recordHeader = 24

// Bits of Record.Info that do not belong to the resource manager (access/xlogrecord.h).
const (
	InfoMask             = 0x0F
	InfoSpecialRelUpdate = 0x01
	InfoCheckConsistency = 0x02
)

// Ids that may stand where a block number is expected (access/xlogrecord.h).
const (
	maxBlockID  = 32
	idShort     = 255
	idLong      = 254
	idOrigin    = 253
	idTopXid    = 252
	flagImage   = 0x10
	flagData    = 0x20
	flagInit    = 0x40
	flagSameRel = 0x80
)

// Record is one WAL record taken apart. Its slices point into Raw.
type Record struct {
	// Start is the record's first byte; End is where it ends, rounded up to 8, for XLOG_SWITCH the end of
	// the segment. The Decoder sets them, Decode does not.
	Start, End page.LSN
	// Raw is the whole record without page headers. What the Decoder gives is valid until its next call.
	Raw    []byte
	Xid    uint32
	Prev   page.LSN // start of the record before
	Info   uint8    // as stored; see Op
	Rmgr   pg.Rmgr
	TopXid uint32 // 0 if the record has none
	Origin uint16 // replication origin, 0 if the record has none
	Main   []byte
	Blocks []Block // in the order of their ids; the array is used again by the next Decode
}

// Op is the resource manager's part of Info, its high four bits.
func (r *Record) Op() uint8 { return r.Info &^ InfoMask }

// Block finds the block reference with this id, nil if the record has none.
func (r *Record) Block(id uint8) *Block {
	for i := range r.Blocks {
		if r.Blocks[i].ID == id {
			return &r.Blocks[i]
		}
	}
	return nil
}

// IsSwitch reports whether the rest of the segment after this record is unused.
func (r *Record) IsSwitch() bool { return r.Rmgr == pg.RmXLOG && r.Op() == opSwitch }

// Operations of the XLOG resource manager that matter to reading (catalog/pg_control.h).
const (
	opSwitch    = 0x40
	opOverwrite = 0xD0
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the CRC that belongs at offset 20; raw must hold a header.
func checksum(raw []byte) uint32 {
	return crc32.Update(crc32.Checksum(raw[recordHeader:], castagnoli), castagnoli, raw[:recordHeader-4])
}

// CheckCRC reports whether raw is a whole record whose CRC fits.
func CheckCRC(raw []byte) bool {
	return len(raw) >= recordHeader && binary.LittleEndian.Uint32(raw) == uint32(len(raw)) &&
		checksum(raw) == binary.LittleEndian.Uint32(raw[recordHeader-4:])
}

// Decode takes raw, one whole record, apart. It makes all checks of PostgreSQL's DecodeXLogRecord and a few
// that PostgreSQL leaves to redo (fork number, sizes of images), but not that of the CRC; see CheckCRC. After
// an error the record's fields mean nothing. Start and End are left alone.
func (r *Record) Decode(v pg.Version, raw []byte) error {
	f, err := formatOf(v)
	if err != nil {
		return err
	}
	return r.decode(f, raw)
}

func (r *Record) decode(f *format, raw []byte) error {
	if len(raw) < recordHeader {
		return fmt.Errorf("record of %d bytes: shorter than its header of %d", len(raw), recordHeader)
	}
	le := binary.LittleEndian
	if n := le.Uint32(raw); n != uint32(len(raw)) {
		return fmt.Errorf("record of %d bytes says that it has %d", len(raw), n)
	}
	r.Raw = raw
	r.Xid = le.Uint32(raw[4:])
	r.Prev = page.LSN(le.Uint64(raw[8:]))
	r.Info, r.Rmgr = raw[16], pg.Rmgr(raw[17])
	r.TopXid, r.Origin = 0, 0
	r.Main, r.Blocks = nil, r.Blocks[:0]
	if !f.rmgrValid(r.Rmgr) {
		return fmt.Errorf("resource manager %d does not exist in PostgreSQL %d", r.Rmgr, f.version)
	}
	h := headerParser{rec: r, f: f, rest: raw[recordHeader:]}
	return h.parse()
}

// headerParser walks over the headers of a record's parts and then deals out the bytes that follow them.
type headerParser struct {
	rec     *Record
	f       *format
	rest    []byte // from the next header on
	total   uint32 // bytes of data that the headers so far announce
	mainLen uint32
	rel     page.RelTag
	haveRel bool
	lastID  int
}

func (h *headerParser) parse() error {
	le := binary.LittleEndian
	h.lastID = -1
	for done := false; !done && uint64(len(h.rest)) > uint64(h.total); {
		id := h.rest[0]
		if id <= maxBlockID {
			if err := h.block(id); err != nil {
				return fmt.Errorf("block reference %d: %w", id, err)
			}
			continue
		}
		n := partSize(id)
		if n == 0 {
			return fmt.Errorf("block id %d: neither a block (0 to %d) nor a known part", id, maxBlockID)
		}
		if len(h.rest) < n {
			return errShort
		}
		part := h.rest[1:n]
		switch id {
		case idShort:
			h.mainLen, done = uint32(part[0]), true // main data is always last
		case idLong:
			h.mainLen, done = le.Uint32(part), true
		case idOrigin:
			h.rec.Origin = le.Uint16(part)
		case idTopXid:
			h.rec.TopXid = le.Uint32(part)
		}
		h.rest = h.rest[n:]
	}
	return h.deal()
}

// partSize is the size of the header of a part that is no block, 0 for an unknown id.
func partSize(id uint8) int {
	switch id {
	case idShort:
		return 2
	case idOrigin:
		return 3
	case idLong, idTopXid:
		return 5
	}
	return 0
}

// deal hands out what follows the headers: image and data of each block, then the main data.
func (h *headerParser) deal() error {
	if want := uint64(h.total) + uint64(h.mainLen); want != uint64(len(h.rest)) {
		return fmt.Errorf("%d bytes of data where the headers announce %d", len(h.rest), want)
	}
	data := h.rest
	for i := range h.rec.Blocks {
		b := &h.rec.Blocks[i]
		n := len(b.Image)
		b.Image, data = data[:n:n], data[n:]
		n = len(b.Data)
		b.Data, data = data[:n:n], data[n:]
	}
	if len(data) > 0 {
		h.rec.Main = data
	}
	return nil
}
