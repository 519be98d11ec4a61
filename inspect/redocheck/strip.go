package redocheck

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/stratapg/strata/pg/wal"
)

// Layout of a record (access/xlogrecord.h).
const (
	recHeader  = 24
	recInfoAt  = 16
	recCRCAt   = 20
	blkHasImg  = 0x10
	blkSameRel = 0x80
	relSize    = 12 // tablespace, database, relation
	blknoSize  = 4
	blkHeader  = 4 // id u8, fork and flags u8, data length u16
	imgHeader  = 5 // length u16, hole offset u16, bimg_info u8
	holeLenAt  = 2 // hole length u16, behind imgHeader for a compressed image with a hole
	imgInfoAt  = 4
	imgHasHole = 0x01
	maxBlockID = 32
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// strip gives the record without the copies that are there for the check alone, as a server without
// wal_consistency_checking would have written it, CRC and all. Without such copies it is the record
// itself. The result is valid until the next call.
func (r *run) strip(rec *wal.Record) ([]byte, error) {
	any := false
	for i := range rec.Blocks {
		any = any || rec.Blocks[i].HasImage && !rec.Blocks[i].Apply
	}
	if !any {
		return rec.Raw, nil
	}
	out, err := stripImages(r.raw[:0], rec)
	r.raw = out
	return out, err
}

// stripImages appends the stripped record to dst. rec has been decoded, so that its block references are
// in the order of the bytes, and sound.
func stripImages(dst []byte, rec *wal.Record) ([]byte, error) {
	raw := rec.Raw
	if len(raw) < recHeader {
		return dst, fmt.Errorf("record of %d bytes", len(raw))
	}
	start := len(dst)
	dst = append(dst, raw[:recHeader]...)
	le := binary.LittleEndian
	pos, payload := recHeader, 0
	for i := range rec.Blocks {
		b := &rec.Blocks[i]
		if pos+blkHeader+imgHeader > len(raw) || raw[pos] != b.ID || b.ID > maxBlockID {
			return dst, fmt.Errorf("block reference %d is not at byte %d", b.ID, pos)
		}
		drop := b.HasImage && !b.Apply
		flags := raw[pos+1]
		head := raw[pos : pos+blkHeader]
		payload += int(le.Uint16(head[2:]))
		pos += blkHeader
		dst = append(dst, head...)
		if drop {
			dst[len(dst)-blkHeader+1] &^= blkHasImg
		}
		if b.HasImage {
			n := imgHeader
			if b.Compression != wal.Uncompressed && raw[pos+imgInfoAt]&imgHasHole != 0 {
				n += holeLenAt
			}
			payload += len(b.Image)
			if !drop {
				dst = append(dst, raw[pos:pos+n]...)
			}
			pos += n
		}
		n := blknoSize
		if flags&blkSameRel == 0 {
			n += relSize
		}
		if pos+n > len(raw) {
			return dst, fmt.Errorf("block reference %d leaves the record", b.ID)
		}
		dst = append(dst, raw[pos:pos+n]...)
		pos += n
	}
	// What is left of the headers (origin, top-level xid, length of the main data) ends where the payload
	// starts.
	payload += len(rec.Main)
	if end := len(raw) - payload; pos <= end {
		dst = append(dst, raw[pos:end]...)
	} else {
		return dst, fmt.Errorf("headers of %d bytes with %d bytes behind them in a record of %d", pos, payload, len(raw))
	}
	for i := range rec.Blocks {
		b := &rec.Blocks[i]
		if b.HasImage && b.Apply {
			dst = append(dst, b.Image...)
		}
		dst = append(dst, b.Data...)
	}
	dst = append(dst, rec.Main...)
	seal(dst[start:])
	return dst, nil
}

// seal sets a changed record's length and CRC, and takes the mark of the check from its info.
func seal(rec []byte) {
	le := binary.LittleEndian
	le.PutUint32(rec, uint32(len(rec)))
	rec[recInfoAt] &^= wal.InfoCheckConsistency
	crc := crc32.Update(0, castagnoli, rec[recHeader:])
	le.PutUint32(rec[recCRCAt:], crc32.Update(crc, castagnoli, rec[:recCRCAt]))
}
