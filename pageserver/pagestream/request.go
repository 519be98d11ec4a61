package pagestream

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/stratapg/strata/page"
)

// Version is that of the protocol.
type Version uint8

// The versions in use. An answer of V3 repeats its request.
const (
	V2 Version = 2
	V3 Version = 3
)

// Kind is what a request asks for.
type Kind uint8

// The kinds of requests.
const (
	Exists       Kind = 0
	RelationSize Kind = 1
	Page         Kind = 2
	DatabaseSize Kind = 3
	SLRUSegment  Kind = 4
)

// String gives the name that Neon's metrics and errors use.
func (k Kind) String() string {
	switch k {
	case Exists:
		return "get_rel_exists"
	case RelationSize:
		return "get_rel_size"
	case Page:
		return "get_page_at_lsn"
	case DatabaseSize:
		return "get_db_size"
	case SLRUSegment:
		return "get_slru_segment"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Latest as request LSN asks for the newest state.
const Latest page.LSN = 1<<64 - 1

// Request is what a client asks. Which of Rel, Block, Database, SLRU and Segment count says Kind.
type Request struct {
	Kind Kind
	ID   uint64 // the client's, repeated in the answer; 0 in V2
	// LSN is the state wanted, Latest for the newest. NotModifiedSince promises that what is asked for has not changed
	// between it and LSN.
	LSN, NotModifiedSince page.LSN

	Rel      page.RelTag
	Block    uint32
	Database uint32
	SLRU     page.SLRU
	Segment  uint32
}

// ErrMalformed is a message that is no request, or no answer.
var ErrMalformed = errors.New("malformed pagestream message")

const relBytes = 13

// bodyBytes gives the size of a request's body.
func (k Kind) bodyBytes() (int, bool) {
	switch k {
	case Exists, RelationSize:
		return relBytes, true
	case Page:
		return relBytes + 4, true
	case DatabaseSize:
		return 4, true
	case SLRUSegment:
		return 1 + 4, true
	}
	return 0, false
}

// headBytes is the size of what precedes a request's body.
func (v Version) headBytes() int {
	if v == V3 {
		return 1 + 8 + 8 + 8
	}
	return 1 + 8 + 8
}

// Append encodes the request.
func (r *Request) Append(b []byte, v Version) []byte {
	b = append(b, byte(r.Kind))
	return r.appendBody(r.appendHead(b, v))
}

func (r *Request) appendHead(b []byte, v Version) []byte {
	if v == V3 {
		b = binary.BigEndian.AppendUint64(b, r.ID)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(r.LSN))
	return binary.BigEndian.AppendUint64(b, uint64(r.NotModifiedSince))
}

func (r *Request) appendBody(b []byte) []byte {
	switch r.Kind {
	case Exists, RelationSize, Page:
		b = binary.BigEndian.AppendUint32(b, r.Rel.Spc)
		b = binary.BigEndian.AppendUint32(b, r.Rel.DB)
		b = binary.BigEndian.AppendUint32(b, r.Rel.Rel)
		b = append(b, byte(r.Rel.Fork))
		if r.Kind == Page {
			b = binary.BigEndian.AppendUint32(b, r.Block)
		}
	case DatabaseSize:
		b = binary.BigEndian.AppendUint32(b, r.Database)
	case SLRUSegment:
		b = binary.BigEndian.AppendUint32(append(b, byte(r.SLRU)), r.Segment)
	}
	return b
}

// DecodeRequest decodes one message, which must be a request and no more. Errors wrap ErrMalformed.
func DecodeRequest(b []byte, v Version) (Request, error) {
	if len(b) == 0 {
		return Request{}, fmt.Errorf("%w: it is empty", ErrMalformed)
	}
	r := Request{Kind: Kind(b[0])}
	n, ok := r.Kind.bodyBytes()
	if !ok {
		return r, fmt.Errorf("%w: request kind %d is not known", ErrMalformed, b[0])
	}
	if want := v.headBytes() + n; len(b) != want {
		return r, fmt.Errorf("%w: %s of protocol version %d has %d bytes, not %d", ErrMalformed, r.Kind, v, want, len(b))
	}
	r.decodeHead(b[1:], v)
	r.decodeBody(b[v.headBytes():])
	return r, nil
}

func (r *Request) decodeHead(b []byte, v Version) {
	if v == V3 {
		r.ID = binary.BigEndian.Uint64(b)
		b = b[8:]
	}
	r.LSN, r.NotModifiedSince = page.LSN(binary.BigEndian.Uint64(b)), page.LSN(binary.BigEndian.Uint64(b[8:]))
}

func (r *Request) decodeBody(b []byte) {
	switch r.Kind {
	case Exists, RelationSize, Page:
		r.Rel = page.RelTag{
			Spc: binary.BigEndian.Uint32(b), DB: binary.BigEndian.Uint32(b[4:]), Rel: binary.BigEndian.Uint32(b[8:]),
			Fork: page.Fork(b[12]),
		}
		if r.Kind == Page {
			r.Block = binary.BigEndian.Uint32(b[relBytes:])
		}
	case DatabaseSize:
		r.Database = binary.BigEndian.Uint32(b)
	case SLRUSegment:
		r.SLRU, r.Segment = page.SLRU(b[0]), binary.BigEndian.Uint32(b[1:])
	}
}
