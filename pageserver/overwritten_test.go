package pageserver_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
)

// smallSockets has the sockets of a server hold little, smallBuffer each, of which the kernel makes the double. With those of the tests'
// clients smallRoom is more than they hold.
type smallSockets struct{ net.Listener }

const (
	smallBuffer = 128 << 10
	smallRoom   = 1 << 20
)

// lastMessage is what the last message of a backup holds, which smallSockets have room for.
const lastMessage = 256 << 10

func (l smallSockets) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err == nil {
		err = nc.(*net.TCPConn).SetWriteBuffer(smallBuffer)
	}
	return nc, err
}

// asked is a client that has asked for a backup, and reads when it is told to.
type asked struct {
	net.Conn
	fe *pgproto3.Frontend
}

func (c *cached) begin(ctx context.Context, queries ...string) (a asked, err error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return a, err
	}
	a = asked{nc, pgproto3.NewFrontend(nc, nc)}
	a.fe.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersionNumber, Parameters: map[string]string{"user": "x"}})
	if err = errors.Join(nc.(*net.TCPConn).SetReadBuffer(smallBuffer), a.fe.Flush()); err == nil {
		_, err = a.read(math.MaxInt)
	}
	for _, q := range queries {
		a.fe.Send(&pgproto3.Query{String: q})
	}
	if err = errors.Join(err, a.fe.Flush()); err != nil {
		nc.Close()
	}
	return a, err
}

// read takes what comes, up to ReadyForQuery or until it has some length, and gives the data.
func (a asked) read(length int) (data []byte, err error) {
	for len(data) < length {
		m, err := a.fe.Receive()
		if err != nil {
			return data, err
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			data = append(data, m.Data...)
		case *pgproto3.ErrorResponse:
			return data, errors.New(m.Message)
		case *pgproto3.ReadyForQuery:
			return data, nil
		}
	}
	return data, nil
}

// warm asks for an uncompressed backup until its file is old enough to be sent as it is, and gives it.
func (c *cached) warm(t *testing.T) (query, file string) {
	t.Helper()
	if !leases(t) {
		testkit.Skip(t, "this file system has no leases, so that backups are copied: set TMPDIR to one of a disk")
	}
	for _, q := range c.queries {
		if !strings.HasSuffix(q, "--gzip") {
			query = q
		}
	}
	for before := c.server.Metrics().FileBytes; c.server.Metrics().FileBytes == before; {
		whole, err := c.ask(t.Context(), query)
		require.NoError(t, err)
		require.True(t, whole)
	}
	names, err := filepath.Glob(filepath.Join(c.cache, "*-"+strings.Fields(query)[2]+"-*.basebackup"))
	require.NoError(t, err)
	for _, name := range names {
		if st, err := os.Stat(name); err == nil && st.Size() > int64(len(c.want[query])) {
			return query, name
		}
	}
	require.Fail(t, "the backup that was sent has no file")
	return "", ""
}

// overwrite writes over a whole file in place. It waits for who has a lease.
func overwrite(name string, length int) <-chan error {
	written := make(chan error, 1)
	go func() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, length), 0)
			err = errors.Join(err, f.Close())
		}
		written <- err
	}()
	return written
}

// When a file is overwritten while its backup is being sent.
const (
	sent    = "after all was sent, before the end of it is read"
	stalled = "while the client reads no more"
	expired = "while the client reads no more, for longer than the kernel has the writer wait"
)

// overwritten has a client ask for a backup, whose file somebody writes over in place before the client has read all of it. The client
// gets what was kept, or an error.
func (c *cached) overwritten(t *testing.T, when string) {
	t.Helper()
	query, file := c.warm(t)
	want := c.want[query]
	a, err := c.begin(t.Context(), query, "nothing") // the second one at once: it tells nothing of what was read
	require.NoError(t, err)
	defer a.Close()
	read := len(want) / 3
	if when == sent {
		read = len(want) - lastMessage
	}
	got, err := a.read(read)
	require.NoError(t, err)
	require.Less(t, len(got), len(want))
	for when == sent && isLeased(t, file) {
		runtime.Gosched()
	}
	written := overwrite(file, len(want))
	switch when {
	case sent:
		require.NoError(t, <-written) // the server needs the file no more
		rest, err := a.read(math.MaxInt)
		require.NoError(t, err)
		require.NoError(t, c.compare(query, append(got, rest...)))
	default:
		for len(written) == 0 && !writerWaits(t, file) {
			runtime.Gosched()
		}
		if when == expired {
			dropLeases(t, file) // as the kernel does then
			require.NoError(t, <-written)
		} else {
			require.Empty(t, written, "it waits for the client")
		}
		rest, err := a.read(math.MaxInt)
		require.ErrorContains(t, err, "wanted", "%d bytes, right: %t", len(got)+len(rest), c.compare(query, append(got, rest...)) == nil)
		if when == stalled {
			require.NoError(t, <-written)
		}
	}
	require.NoError(t, a.Close())
	whole, err := c.ask(t.Context(), query)
	require.NoError(t, err)
	require.True(t, whole, "it was made anew")
}

// TestOverwrittenBeforeItIsRead: what a slow client gets of a file that is overwritten.
func TestOverwrittenBeforeItIsRead(t *testing.T) {
	c := newCached(t, 0)
	c.start(t)
	defer c.stop()
	for _, when := range []string{sent, stalled, expired} {
		t.Run(when, func(t *testing.T) { c.overwritten(t, when) })
	}
}
