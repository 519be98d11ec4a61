package pageserver

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

// readOnly is a client that is not written to.
type readOnly struct{ io.Reader }

func (readOnly) Write(b []byte) (int, error) { return len(b), nil }

// FuzzWire compares our reader of messages with pgproto3's, on whatever a client sends, in one piece and byte by byte.
func FuzzWire(f *testing.F) {
	add := func(startup bool, ms ...pgproto3.FrontendMessage) {
		var b []byte
		for _, m := range ms {
			var err error
			b, err = m.Encode(b)
			require.NoError(f, err)
		}
		f.Add(b, startup)
	}
	add(true, &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "x"}}, &pgproto3.Query{String: "pagestream_v3"})
	add(true, &pgproto3.SSLRequest{})
	add(true, &pgproto3.GSSEncRequest{})
	add(false, &pgproto3.Parse{Query: "set x"}, &pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'S'}, &pgproto3.Execute{}, &pgproto3.Sync{})
	add(false, &pgproto3.CopyData{Data: make([]byte, 3*readAhead)}, &pgproto3.CopyData{Data: []byte{1, 2, 3}}, &pgproto3.CopyDone{}, &pgproto3.CopyFail{Message: "x"})
	add(false, &pgproto3.PasswordMessage{Password: "x"}, &pgproto3.Close{ObjectType: 'P'}, &pgproto3.Flush{}, &pgproto3.Terminate{})
	f.Add([]byte{'Q', 0x7f, 0xff, 0xff, 0xff}, false)
	f.Add([]byte{0, 0, 0, 4, 0, 0, 0, 0}, true)
	f.Add([]byte{'d', 0, 0, 0, 3}, false)
	f.Fuzz(func(t *testing.T, b []byte, startup bool) {
		theirs := pgproto3.NewBackend(bytes.NewReader(b), io.Discard)
		theirs.SetMaxBodyLen(maxMessage)
		whole, slow := newWire(readOnly{bytes.NewReader(b)}), newWire(readOnly{iotest.OneByteReader(bytes.NewReader(b))})
		for {
			want, bad := theirs.Receive, whole.Receive
			again := slow.Receive
			if startup {
				want, bad, again = theirs.ReceiveStartupMessage, whole.ReceiveStartup, slow.ReceiveStartup
			}
			arrived := !startup && whole.Arrived()
			a, err := want()
			m, ourErr := bad()
			n, slowErr := again()
			require.Equal(t, ourErr == nil, slowErr == nil)
			if _, cancel := a.(*pgproto3.CancelRequest); cancel {
				require.Error(t, ourErr)
				return
			}
			if s, ok := m.(*pgproto3.StartupMessage); ok && ourErr == nil && err != nil {
				require.EqualValues(t, protocolMajor, s.ProtocolVersion>>16, "a minor version that pgproto3 does not know")
				return
			}
			require.Equal(t, err == nil, ourErr == nil, "%v, and here %v", err, ourErr)
			if err != nil {
				return
			}
			require.Equal(t, describe(a), describe(m))
			require.Equal(t, describe(a), describe(n))
			if !startup && len(b) <= readAhead && arrived {
				require.NoError(t, ourErr)
			}
			startup = false
		}
	})
}

func describe(m pgproto3.FrontendMessage) string { return fmt.Sprintf("%T %+v", m, m) }

// TestArrived: a message has arrived when its last byte has.
func TestArrived(t *testing.T) {
	b, err := (&pgproto3.CopyData{Data: []byte{1, 2, 3}}).Encode(nil)
	require.NoError(t, err)
	for n := 1; n <= len(b); n++ {
		w := newWire(readOnly{bytes.NewReader(b[:n])})
		require.False(t, w.Arrived())
		_, err := w.in.Peek(1)
		require.NoError(t, err)
		require.Equal(t, n == len(b), w.Arrived(), "%d of %d bytes", n, len(b))
	}
}
