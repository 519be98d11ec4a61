package page

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxValueSize is the longest serialized value: the blob header has 28 bits for it.
const MaxValueSize = 1<<28 - 1

// Kind says what a Value holds. The order follows the tags on disk.
type Kind uint8

// The kinds of value: an image of a page or file, a record of PostgreSQL's WAL, and the pseudo-records of
// what PostgreSQL changes without naming a block.
const (
	KindImage Kind = iota
	KindPostgres
	KindClearVM
	KindClogCommitted
	KindClogAborted
	KindMultixactOffset
	KindMultixactMembers
	KindAuxFile
	KindTruncateVM
)

// Member is one member of a multixact.
type Member struct{ Xid, Status uint32 }

// NoBlock stands for "no heap block" in a KindClearVM value.
const NoBlock = 0xFFFFFFFF

// Value is one version of a key, decoded. Which fields count depends on Kind. Bytes points into the
// buffer it was decoded from.
//
// The binary form is bincode, big-endian (Neon, libs/wal_decoder/src/models/{value,record}.rs):
//
//	Image             00000000 | len u64 | data
//	Postgres          00000001 00000000 | will_init u8 | len u64 | WAL record
//	ClearVM           00000001 00000001 | new Option<u32> | old Option<u32> | flags u8
//	ClogCommitted     00000001 00000002 | n u64 | n * xid u32 | timestamp i64
//	ClogAborted       00000001 00000003 | n u64 | n * xid u32
//	MultixactOffset   00000001 00000004 | mid u32 | moff u32
//	MultixactMembers  00000001 00000005 | moff u32 | n u64 | n * (xid u32, status u32)
//	AuxFile           00000001 00000006 | len u64 | path | Option<len u64, bytes>   (obsolete, read only)
//	TruncateVM        00000001 00000007 | byte u64 | bits u64
type Value struct {
	Kind     Kind
	WillInit bool   // KindPostgres: the record makes the block anew
	Bytes    []byte // KindImage: the image; KindPostgres: the record

	NewHeapBlock, OldHeapBlock uint32 // KindClearVM; NoBlock for none
	Flags                      uint8  // KindClearVM: the bits to clear

	Xids      []uint32 // KindClog*
	Timestamp int64    // KindClogCommitted: microseconds since 2000-01-01

	Multi, Offset uint32   // KindMultixactOffset: both; KindMultixactMembers: Offset
	Members       []Member // KindMultixactMembers

	TruncByte, TruncBits uint64 // KindTruncateVM
}

// ErrBadValue marks bytes that are no value.
var ErrBadValue = errors.New("bad value encoding")

const (
	tagImage, tagRecord = 0, 1
	imageHeader         = 4 + 8
	postgresHeader      = 4 + 4 + 1 + 8
)

// Initializes reports whether a page can be built from v without anything older.
func (v *Value) Initializes() bool {
	return v.Kind == KindImage || v.Kind == KindPostgres && v.WillInit
}

// Append appends the binary form.
func (v *Value) Append(b []byte) []byte {
	be := binary.BigEndian
	if v.Kind == KindImage {
		b = be.AppendUint32(b, tagImage)
		b = be.AppendUint64(b, uint64(len(v.Bytes)))
		return append(b, v.Bytes...)
	}
	b = be.AppendUint32(b, tagRecord)
	b = be.AppendUint32(b, uint32(v.Kind-KindPostgres))
	switch v.Kind {
	case KindPostgres:
		b = append(b, boolByte(v.WillInit))
		b = be.AppendUint64(b, uint64(len(v.Bytes)))
		b = append(b, v.Bytes...)
	case KindClearVM:
		b = appendBlock(b, v.NewHeapBlock)
		b = appendBlock(b, v.OldHeapBlock)
		b = append(b, v.Flags)
	case KindClogCommitted, KindClogAborted:
		b = be.AppendUint64(b, uint64(len(v.Xids)))
		for _, x := range v.Xids {
			b = be.AppendUint32(b, x)
		}
		if v.Kind == KindClogCommitted {
			b = be.AppendUint64(b, uint64(v.Timestamp))
		}
	case KindMultixactOffset:
		b = be.AppendUint32(b, v.Multi)
		b = be.AppendUint32(b, v.Offset)
	case KindMultixactMembers:
		b = be.AppendUint32(b, v.Offset)
		b = be.AppendUint64(b, uint64(len(v.Members)))
		for _, m := range v.Members {
			b = be.AppendUint32(b, m.Xid)
			b = be.AppendUint32(b, m.Status)
		}
	case KindTruncateVM:
		b = be.AppendUint64(b, v.TruncByte)
		b = be.AppendUint64(b, v.TruncBits)
	}
	return b
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func appendBlock(b []byte, blk uint32) []byte {
	if blk == NoBlock {
		return append(b, 0)
	}
	return binary.BigEndian.AppendUint32(append(b, 1), blk)
}

// IsImage reports whether DecodeValue would give an image, for some nanoseconds.
func IsImage(b []byte) bool {
	return len(b) >= imageHeader && binary.BigEndian.Uint32(b) == tagImage &&
		binary.BigEndian.Uint64(b[4:]) == uint64(len(b)-imageHeader)
}

// DecodeValue decodes a whole binary value. Trailing bytes are an error. Image and record bytes are not
// copied.
func DecodeValue(b []byte) (Value, error) {
	d := valueDecoder{b: b}
	v := d.value()
	if d.err != "" {
		return Value{}, fmt.Errorf("%w: %s at byte %d of %d", ErrBadValue, d.err, len(b)-len(d.b), len(b))
	}
	if len(d.b) != 0 {
		return Value{}, fmt.Errorf("%w: %d bytes left over of %d", ErrBadValue, len(d.b), len(b))
	}
	return v, nil
}

// valueDecoder reads fields from the front of b and remembers the first thing wrong.
type valueDecoder struct {
	b   []byte
	err string
}

func (d *valueDecoder) take(n uint64, what string) []byte {
	if d.err != "" {
		return nil
	}
	if n > uint64(len(d.b)) {
		d.err = "too short for " + what
		return nil
	}
	r := d.b[:n:n]
	d.b = d.b[n:]
	return r
}

func (d *valueDecoder) u8(what string) uint8 {
	if r := d.take(1, what); r != nil {
		return r[0]
	}
	return 0
}

func (d *valueDecoder) u32(what string) uint32 {
	if r := d.take(4, what); r != nil {
		return binary.BigEndian.Uint32(r)
	}
	return 0
}

func (d *valueDecoder) u64(what string) uint64 {
	if r := d.take(8, what); r != nil {
		return binary.BigEndian.Uint64(r)
	}
	return 0
}

func (d *valueDecoder) flag(what string) bool {
	f := d.u8(what)
	if f > 1 && d.err == "" {
		d.err = what + " is neither 0 nor 1"
	}
	return f == 1
}

func (d *valueDecoder) block(what string) uint32 {
	if !d.flag(what) {
		return NoBlock
	}
	return d.u32(what)
}

// count reads a number of elements of the given size and checks that they are there before anyone
// allocates for them.
func (d *valueDecoder) count(size uint64, what string) int {
	n := d.u64(what)
	if d.err == "" && n > uint64(len(d.b))/size {
		d.err = "too short for " + what
	}
	if d.err != "" {
		return 0
	}
	return int(n)
}

func (d *valueDecoder) value() (v Value) {
	switch tag := d.u32("tag"); {
	case d.err != "":
	case tag == tagImage:
		v.Bytes = d.take(d.u64("image length"), "image")
	case tag == tagRecord:
		kind := d.u32("record tag")
		if d.err == "" && kind > uint32(KindTruncateVM-KindPostgres) {
			d.err = fmt.Sprintf("unknown record tag %d", kind)
			return v
		}
		v.Kind = KindPostgres + Kind(kind)
		d.record(&v)
	default:
		d.err = fmt.Sprintf("unknown tag %d", tag)
	}
	return v
}

func (d *valueDecoder) record(v *Value) {
	switch v.Kind {
	case KindPostgres:
		v.WillInit = d.flag("will_init")
		v.Bytes = d.take(d.u64("record length"), "record")
	case KindClearVM:
		v.NewHeapBlock = d.block("new heap block")
		v.OldHeapBlock = d.block("old heap block")
		v.Flags = d.u8("flags")
	case KindClogCommitted, KindClogAborted:
		if n := d.count(4, "xids"); n > 0 {
			v.Xids = make([]uint32, n)
		}
		for i := range v.Xids {
			v.Xids[i] = d.u32("xids")
		}
		if v.Kind == KindClogCommitted {
			v.Timestamp = int64(d.u64("timestamp"))
		}
	case KindMultixactOffset:
		v.Multi, v.Offset = d.u32("multixact"), d.u32("offset")
	case KindMultixactMembers:
		v.Offset = d.u32("offset")
		if n := d.count(8, "members"); n > 0 {
			v.Members = make([]Member, n)
		}
		for i := range v.Members {
			v.Members[i] = Member{d.u32("members"), d.u32("members")}
		}
	case KindAuxFile:
		d.take(d.u64("path length"), "path")
		if d.flag("content") {
			v.Bytes = d.take(d.u64("content length"), "content")
		}
	case KindTruncateVM:
		v.TruncByte, v.TruncBits = d.u64("byte"), d.u64("bits")
	}
}

// ValueInitializes reads from a serialized value whether it initializes a page, without decoding it.
func ValueInitializes(b []byte) (bool, error) {
	if len(b) < 8 {
		return false, fmt.Errorf("%w: %d bytes", ErrBadValue, len(b))
	}
	switch binary.BigEndian.Uint32(b) {
	case tagImage:
		return true, nil
	case tagRecord:
	default:
		return false, fmt.Errorf("%w: unknown tag %d", ErrBadValue, binary.BigEndian.Uint32(b))
	}
	if binary.BigEndian.Uint32(b[4:]) != 0 {
		return false, nil
	}
	if len(b) < postgresHeader {
		return false, fmt.Errorf("%w: %d bytes for a record", ErrBadValue, len(b))
	}
	return b[8] == 1, nil
}

// ErrNotFound says that a key has no version at the LSN asked for.
var ErrNotFound = errors.New("no such key at this LSN")
