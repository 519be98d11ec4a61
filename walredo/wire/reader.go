package wire

import (
	"errors"
	"fmt"
	"io"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Message is one message as a worker gets it.
type Message struct {
	Type  byte
	Rel   page.RelTag // begin, push, get
	Block uint32
	LSN   page.LSN // apply
	// Bytes are the image of a push and the record of an apply. They lie in the reader's buffer or in what
	// its alloc gave.
	Bytes []byte
}

// Reader takes messages from a stream.
type Reader struct {
	r    io.Reader
	head [HeaderSize + TagSize]byte
}

// NewReader reads from r, which should be buffered.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next reads one message. io.EOF means that the stream ended between two messages. alloc gives the memory
// for the n bytes of a message's image or record; its error ends the reading.
func (r *Reader) Next(m *Message, alloc func(n int) ([]byte, error)) error {
	*m = Message{}
	if _, err := io.ReadFull(r.r, r.head[:HeaderSize]); err != nil {
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		return fmt.Errorf("%w: %w in a message's head", ErrProtocol, err)
	}
	m.Type = r.head[0]
	n := int64(be.Uint32(r.head[1:])) - lengthSize
	fixed, body, err := sizes(m.Type, n)
	if err != nil {
		return err
	}
	head := r.head[HeaderSize : HeaderSize+fixed]
	if err := r.full(head); err != nil {
		return err
	}
	switch {
	case m.Type == Apply:
		m.LSN = page.LSN(be.Uint64(head))
	case fixed == TagSize:
		m.Rel, m.Block = parseTag(head)
	}
	if body == 0 {
		return nil
	}
	if m.Bytes, err = alloc(body); err != nil {
		return err
	}
	return r.full(m.Bytes)
}

func (r *Reader) full(b []byte) error {
	if _, err := io.ReadFull(r.r, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("%w: %w in a message", ErrProtocol, err)
	}
	return nil
}

// sizes checks the length of a payload and splits it into its fixed part and its image or record.
func sizes(kind byte, n int64) (fixed, body int, err error) {
	ok := false
	switch kind {
	case Begin, Get:
		fixed, ok = TagSize, n == TagSize
	case Push:
		fixed, body, ok = TagSize, pg.BlockSize, n == TagSize+pg.BlockSize
	case Apply:
		fixed, ok = lsnSize, n > lsnSize && n <= lsnSize+MaxRecord
		body = int(n) - lsnSize
	case Ping:
		ok = n == 0
	default:
		return 0, 0, fmt.Errorf("%w: type %q", ErrProtocol, kind)
	}
	if !ok {
		return 0, 0, fmt.Errorf("%w: %d bytes in a message of type %q", ErrProtocol, n, kind)
	}
	return fixed, body, nil
}
