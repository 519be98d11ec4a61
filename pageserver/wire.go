package pageserver

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgproto3"
)

// maxMessage bounds what a client may send in one message, and maxStartup in the one before all others, as PostgreSQL does.
const (
	maxMessage = 64 << 10
	maxStartup = 10_000
)

// readAhead is how much is read from a client at once: a hundred requests. It is what an idle connection keeps.
const readAhead = 4 << 10

// keptOut is how much memory of messages to be sent a connection keeps.
const keptOut = 1 << 10

// wire is the messages of one client. It reads and writes as pgproto3.Backend does, with less memory, and tells whether there
// is a message that has arrived whole.
type wire struct {
	in  *bufio.Reader
	w   io.Writer
	out []byte
	err error // of a message that could not be encoded

	copyData pgproto3.CopyData // so frequent that it is not made anew
}

func newWire(rw io.ReadWriter) *wire { return &wire{in: bufio.NewReaderSize(rw, readAhead), w: rw} }

// Send keeps a message for the next Flush, which reports its error.
func (w *wire) Send(m pgproto3.BackendMessage) {
	out, err := m.Encode(w.out)
	if err != nil {
		w.err = errors.Join(w.err, err)
		return
	}
	w.out = out
}

// Flush writes what was sent.
func (w *wire) Flush() error {
	out, err := w.out, w.err
	w.out, w.err = out[:0], nil
	if cap(out) > keptOut {
		w.out = nil
	}
	if err != nil {
		return err
	}
	_, err = w.w.Write(out)
	return err
}

// Codes of a startup message.
const (
	protocolMajor     = 3
	codeCancel        = 1234<<16 | 5678
	codeSSL           = 1234<<16 | 5679
	codeGSSEncryption = 1234<<16 | 5680
)

// ReceiveStartup waits for the message that a connection begins with: a startup message, or a wish for encryption.
func (w *wire) ReceiveStartup() (pgproto3.FrontendMessage, error) {
	head, err := w.in.Peek(8)
	if err != nil {
		return nil, noMore(err)
	}
	n, code := binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[4:])
	if n < 8 || n > maxStartup {
		return nil, fmt.Errorf("a startup message of %d bytes", n)
	}
	var m pgproto3.FrontendMessage
	switch {
	case code == codeSSL:
		m = &pgproto3.SSLRequest{}
	case code == codeGSSEncryption:
		m = &pgproto3.GSSEncRequest{}
	case code == codeCancel:
		return nil, errors.New("a request to cancel, of which there is none to be had here")
	case code>>16 == protocolMajor:
		m = &pgproto3.StartupMessage{}
	default:
		return nil, fmt.Errorf("a startup message of protocol %d.%d", code>>16, code&0xffff)
	}
	return m, w.decode(m, 4, int(n)-4)
}

// Arrived reports whether the next message has arrived whole, so that Receive does not wait.
func (w *wire) Arrived() bool {
	const head = 5
	if w.in.Buffered() < head {
		return false
	}
	h, _ := w.in.Peek(head)
	return uint64(w.in.Buffered()) > uint64(binary.BigEndian.Uint32(h[1:]))
}

// Receive waits for the next message, which is valid until the one after it is waited for.
func (w *wire) Receive() (pgproto3.FrontendMessage, error) {
	h, err := w.in.Peek(5)
	if err != nil {
		return nil, noMore(err)
	}
	kind, n := h[0], binary.BigEndian.Uint32(h[1:])
	if n < 4 || n-4 > maxMessage {
		return nil, fmt.Errorf("a message %q of %d bytes: %d are the most", kind, n, maxMessage)
	}
	m := w.message(kind)
	if m == nil {
		return nil, fmt.Errorf("a message of unknown kind %q", kind)
	}
	return m, w.decode(m, 5, int(n)-4)
}

// message makes the message of a kind, nil if there is none.
func (w *wire) message(kind byte) pgproto3.FrontendMessage {
	switch kind {
	case 'd':
		return &w.copyData
	case 'B':
		return &pgproto3.Bind{}
	case 'C':
		return &pgproto3.Close{}
	case 'D':
		return &pgproto3.Describe{}
	case 'E':
		return &pgproto3.Execute{}
	case 'F':
		return &pgproto3.FunctionCall{}
	case 'H':
		return &pgproto3.Flush{}
	case 'P':
		return &pgproto3.Parse{}
	case 'Q':
		return &pgproto3.Query{}
	case 'S':
		return &pgproto3.Sync{}
	case 'X':
		return &pgproto3.Terminate{}
	case 'c':
		return &pgproto3.CopyDone{}
	case 'f':
		return &pgproto3.CopyFail{}
	case 'p':
		return &pgproto3.PasswordMessage{}
	}
	return nil
}

// decode takes a message of n bytes behind its head.
func (w *wire) decode(m pgproto3.FrontendMessage, head, n int) error {
	if head+n > readAhead { // seldom: it gets memory of its own
		b := make([]byte, head+n)
		if _, err := io.ReadFull(w.in, b); err != nil {
			return noMore(err)
		}
		return m.Decode(b[head:])
	}
	b, err := w.in.Peek(head + n)
	if err != nil {
		return noMore(err)
	}
	_, _ = w.in.Discard(head + n) // its bytes stay until more is read
	return m.Decode(b[head:])
}

// noMore makes the end of what is read an unexpected one: who means to leave says so.
func noMore(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
