package pagestream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/stratapg/strata/pg"
)

// errorKind is the kind of an answer that is an error. That of any other is its request's and firstAnswer, but those
// beyond it are one further.
const (
	firstAnswer = 100
	errorKind   = 103
)

func (k Kind) answer() byte {
	if k >= DatabaseSize {
		return firstAnswer + 1 + byte(k)
	}
	return firstAnswer + byte(k)
}

// begin appends what comes before an answer's payload.
func (r *Request) begin(b []byte, v Version) []byte {
	b = append(b, r.Kind.answer())
	if v == V3 {
		b = r.appendBody(r.appendHead(b, v))
	}
	return b
}

// AnswerExists appends the answer to Exists.
func (r *Request) AnswerExists(b []byte, v Version, exists bool) []byte {
	b = r.begin(b, v)
	if exists {
		return append(b, 1)
	}
	return append(b, 0)
}

// AnswerRelationSize appends the answer to RelationSize.
func (r *Request) AnswerRelationSize(b []byte, v Version, blocks uint32) []byte {
	return binary.BigEndian.AppendUint32(r.begin(b, v), blocks)
}

// AnswerPage appends the answer to Page: image is 8,192 bytes.
func (r *Request) AnswerPage(b []byte, v Version, image []byte) []byte {
	return append(r.begin(b, v), image...)
}

// AnswerDatabaseSize appends the answer to DatabaseSize.
func (r *Request) AnswerDatabaseSize(b []byte, v Version, size int64) []byte {
	return binary.BigEndian.AppendUint64(r.begin(b, v), uint64(size))
}

// AnswerSLRUSegment appends the answer to SLRUSegment: whole pages, one after the other.
func (r *Request) AnswerSLRUSegment(b []byte, v Version, pages []byte) []byte {
	b = binary.BigEndian.AppendUint32(r.begin(b, v), uint32(len(pages)/pg.BlockSize))
	return append(b, pages...)
}

// AnswerError appends the answer to any request that failed. The message ends at its first zero byte.
func (r *Request) AnswerError(b []byte, v Version, message string) []byte {
	b = append(b, errorKind)
	if v == V3 {
		b = r.appendHead(b, v)
	}
	if i := strings.IndexByte(message, 0); i >= 0 {
		message = message[:i]
	}
	return append(append(b, message...), 0)
}

// Answer is what a client has received. Which of the fields beside Error counts says the request's kind.
type Answer struct {
	Exists bool
	Blocks uint32
	Bytes  int64
	Pages  []byte // of the message that was decoded: a page, or those of an SLRU segment
	Error  string // not empty if the request failed
}

// DecodeAnswer decodes the answer to a request. In V3 it must repeat the request. Errors wrap ErrMalformed; what the
// server reports as an error is in Answer.
func DecodeAnswer(b []byte, v Version, r *Request) (a Answer, err error) {
	if len(b) == 0 {
		return a, fmt.Errorf("%w: it is empty", ErrMalformed)
	}
	kind, rest := b[0], b[1:]
	if kind != errorKind && kind != r.Kind.answer() {
		return a, fmt.Errorf("%w: %s is not answered by kind %d", ErrMalformed, r.Kind, kind)
	}
	if v == V3 {
		var repeated [64]byte
		want := r.appendHead(repeated[:0], v)
		if kind != errorKind {
			want = r.appendBody(want)
		}
		if !bytes.HasPrefix(rest, want) {
			return a, fmt.Errorf("%w: the answer is not to %s with id %d", ErrMalformed, r.Kind, r.ID)
		}
		rest = rest[len(want):]
	}
	if kind == errorKind {
		return decodeError(rest)
	}
	return decodePayload(rest, r.Kind)
}

func decodeError(b []byte) (a Answer, err error) {
	i := bytes.IndexByte(b, 0)
	if i < 0 || i != len(b)-1 {
		return a, fmt.Errorf("%w: an error message does not end with its only zero byte", ErrMalformed)
	}
	if a.Error = string(b[:i]); a.Error == "" {
		a.Error = "an error without a message"
	}
	return a, nil
}

func decodePayload(b []byte, k Kind) (a Answer, err error) {
	if k == SLRUSegment {
		if len(b) < 4 || uint64(len(b)-4) != uint64(binary.BigEndian.Uint32(b))*pg.BlockSize {
			return a, fmt.Errorf("%w: an SLRU segment of %d bytes", ErrMalformed, len(b))
		}
		a.Blocks, a.Pages = binary.BigEndian.Uint32(b), b[4:]
		return a, nil
	}
	if want := map[Kind]int{Exists: 1, RelationSize: 4, Page: pg.BlockSize, DatabaseSize: 8}[k]; len(b) != want {
		return a, fmt.Errorf("%w: the answer to %s has %d bytes, not %d", ErrMalformed, k, len(b), want)
	}
	switch k {
	case Exists:
		a.Exists = b[0] != 0
	case RelationSize:
		a.Blocks = binary.BigEndian.Uint32(b)
	case Page:
		a.Pages = b
	case DatabaseSize:
		a.Bytes = int64(binary.BigEndian.Uint64(b))
	}
	return a, nil
}
