package wire

import (
	"encoding/binary"
	"errors"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Types of message.
const (
	Begin = 'B'
	Push  = 'P'
	Apply = 'A'
	Get   = 'G'
	Ping  = 'H'
)

const (
	// HeaderSize is the type and the length of a message.
	HeaderSize = 1 + lengthSize
	// TagSize is the name of a block.
	TagSize = 17
	// AnswerSize is the length of every answer.
	AnswerSize = pg.BlockSize

	lengthSize = 4
	lsnSize    = 8

	beginSize = HeaderSize + TagSize
	pushSize  = HeaderSize + TagSize + pg.BlockSize
	applySize = HeaderSize + lsnSize
	getSize   = HeaderSize + TagSize
)

// MaxRecord is the longest record that is sent: as large as a stored value can be.
const MaxRecord = page.MaxValueSize

var (
	// ErrProtocol marks bytes that are no message where one is expected.
	ErrProtocol = errors.New("not a message of the redo protocol")
	be          = binary.BigEndian
)

func appendHeader(b []byte, kind byte, payload int) []byte {
	return be.AppendUint32(append(b, kind), uint32(lengthSize+payload))
}

func appendTag(b []byte, rel page.RelTag, block uint32) []byte {
	b = append(b, byte(rel.Fork))
	b = be.AppendUint32(b, rel.Spc)
	b = be.AppendUint32(b, rel.DB)
	b = be.AppendUint32(b, rel.Rel)
	return be.AppendUint32(b, block)
}

func parseTag(b []byte) (rel page.RelTag, block uint32) {
	rel.Fork = page.Fork(b[0])
	rel.Spc, rel.DB, rel.Rel = be.Uint32(b[1:]), be.Uint32(b[5:]), be.Uint32(b[9:])
	return rel, be.Uint32(b[13:])
}

// AppendBegin appends a begin message.
func AppendBegin(b []byte, rel page.RelTag, block uint32) []byte {
	return appendTag(appendHeader(b, Begin, TagSize), rel, block)
}

// AppendPushHead appends a push message up to its image, which the caller has to send next.
func AppendPushHead(b []byte, rel page.RelTag, block uint32) []byte {
	return appendTag(appendHeader(b, Push, TagSize+pg.BlockSize), rel, block)
}

// AppendApplyHead appends an apply message up to its record of n bytes, which the caller has to send next.
func AppendApplyHead(b []byte, end page.LSN, n int) []byte {
	return be.AppendUint64(appendHeader(b, Apply, lsnSize+n), uint64(end))
}

// AppendGet appends a get message.
func AppendGet(b []byte, rel page.RelTag, block uint32) []byte {
	return appendTag(appendHeader(b, Get, TagSize), rel, block)
}

// AppendPing appends a ping message.
func AppendPing(b []byte) []byte { return appendHeader(b, Ping, 0) }

// MaxHead is the most that one of the Append functions appends.
const MaxHead = beginSize

// RequestSize is the number of bytes that a redo takes on the wire.
func RequestSize(image bool, records int, recordBytes int64) int64 {
	n := int64(beginSize) + int64(records)*applySize + recordBytes + getSize
	if image {
		n += pushSize
	}
	return n
}
