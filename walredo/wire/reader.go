package wire

import (
	"bufio"
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
type Reader struct{ r *bufio.Reader }

// NewReader reads from r, whose buffer holds more than a message's head.
func NewReader(r *bufio.Reader) *Reader { return &Reader{r: r} }

// Next reads one message. io.EOF means that the stream ended between two messages. alloc gives the memory
// for the n bytes of a message's image or record; its error ends the reading.
func (r *Reader) Next(m *Message, alloc func(n int) ([]byte, error)) error {
	*m = Message{}
	head, err := r.r.Peek(HeaderSize)
	if err != nil {
		if len(head) == 0 && errors.Is(err, io.EOF) {
			return io.EOF
		}
		return broken(err, "a message's head")
	}
	m.Type = head[0]
	fixed, body, err := sizes(m.Type, int64(be.Uint32(head[1:]))-lengthSize)
	if err != nil {
		return err
	}
	if head, err = r.r.Peek(HeaderSize + fixed); err != nil {
		return broken(err, "a message")
	}
	switch head = head[HeaderSize:]; {
	case m.Type == Apply:
		m.LSN = page.LSN(be.Uint64(head))
	case fixed == TagSize:
		m.Rel, m.Block = parseTag(head)
	}
	if _, err := r.r.Discard(HeaderSize + fixed); err != nil || body == 0 {
		return err
	}
	if m.Bytes, err = alloc(body); err != nil {
		return err
	}
	if _, err := io.ReadFull(r.r, m.Bytes); err != nil {
		return broken(err, "a message")
	}
	return nil
}

// broken is the error of a stream that ended, or could not be read, within something.
func broken(err error, within string) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w in %s", ErrProtocol, err, within)
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
