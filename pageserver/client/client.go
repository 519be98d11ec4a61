// Package client asks a page server, ours or Neon's, for pages: what computes, tests and benchmarks do.
//
// A Conn, and what it opened, belongs to one goroutine at a time, but for this: one goroutine may send on a Stream while
// another one receives.
package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Options say how to connect.
type Options struct {
	// TLS, if set, is demanded of the server.
	TLS *tls.Config
	// Token, if set, is the password, where the server asks for one.
	Token string
}

// Conn is a connection to a page server.
type Conn struct {
	nc    net.Conn
	in    *bufio.Reader // of nc, below fe
	fe    *pgproto3.Frontend
	token string
}

// maxMessage bounds what a server may send in one message: an SLRU segment, or a piece of a backup.
const maxMessage = 1 << 20

// readAhead is how much is read at once: many answers, where they come together.
const readAhead = 256 << 10

// ServerError is what a server answers instead of doing a command. The connection can go on.
type ServerError struct{ Code, Message string }

// Error gives both.
func (e *ServerError) Error() string {
	return fmt.Sprintf("the page server says %s: %s", e.Code, e.Message)
}

// Dial connects to host:port and goes through the start of the protocol. ctx bounds that alone.
func Dial(ctx context.Context, addr string, o Options) (*Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &Conn{nc: nc, token: o.Token}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	err = c.start(o)
	if !stop() || err != nil {
		c.nc.Close()
		return nil, fmt.Errorf("connecting to page server %s: %w", addr, errors.Join(ctx.Err(), err))
	}
	return c, nil
}

func (c *Conn) start(o Options) error {
	if o.TLS != nil {
		if err := c.startTLS(o.TLS); err != nil {
			return err
		}
	}
	c.in = bufio.NewReaderSize(c.nc, readAhead)
	c.fe = pgproto3.NewFrontend(c.in, c.nc)
	c.fe.SetMaxBodyLen(maxMessage)
	c.fe.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "postgres"}})
	if err := c.fe.Flush(); err != nil {
		return err
	}
	_, err := c.until(isReady)
	return err
}

func (c *Conn) startTLS(conf *tls.Config) error {
	request, err := (&pgproto3.SSLRequest{}).Encode(nil)
	if err != nil {
		return err
	}
	if _, err := c.nc.Write(request); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(c.nc, answer[:]); err != nil {
		return err
	}
	if answer[0] != 'S' {
		return errors.New("the server has no TLS")
	}
	c.nc = tls.Client(c.nc, conf)
	return nil
}

// until receives messages until one that is wanted. An error that the server reports before ends it.
func (c *Conn) until(wanted func(pgproto3.BackendMessage) bool) (pgproto3.BackendMessage, error) {
	for {
		m, err := c.fe.Receive()
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			return nil, &ServerError{m.Code, m.Message}
		case *pgproto3.AuthenticationCleartextPassword:
			c.fe.Send(&pgproto3.PasswordMessage{Password: c.token})
			if err := c.fe.Flush(); err != nil {
				return nil, err
			}
		}
		if wanted(m) {
			return m, nil
		}
	}
}

// Close ends the connection. It does not wait long for a server that does not read.
func (c *Conn) Close() error {
	_ = c.nc.SetWriteDeadline(time.Now().Add(time.Second))
	c.fe.Send(&pgproto3.Terminate{})
	return errors.Join(c.fe.Flush(), c.nc.Close())
}

// Abort breaks the connection off: whoever waits for it gets an error. It may be called from any goroutine.
func (c *Conn) Abort() { _ = c.nc.Close() }

// command sends a query and waits for the message that it begins with.
func (c *Conn) command(query string, wanted func(pgproto3.BackendMessage) bool) (pgproto3.BackendMessage, error) {
	c.fe.Send(&pgproto3.Query{String: query})
	if err := c.fe.Flush(); err != nil {
		return nil, err
	}
	m, err := c.until(wanted)
	var refused *ServerError
	if errors.As(err, &refused) {
		if _, err := c.until(isReady); err != nil {
			return nil, errors.Join(refused, err)
		}
	}
	return m, err
}

func isReady(m pgproto3.BackendMessage) bool { _, ok := m.(*pgproto3.ReadyForQuery); return ok }

// Copy does a command that is answered by data, like fullbackup, and writes them to w.
func (c *Conn) Copy(query string, w io.Writer) (n int64, err error) {
	_, err = c.command(query, func(m pgproto3.BackendMessage) bool { _, ok := m.(*pgproto3.CopyOutResponse); return ok })
	if err != nil {
		return 0, err
	}
	for {
		m, err := c.until(func(m pgproto3.BackendMessage) bool {
			switch m.(type) {
			case *pgproto3.CopyData, *pgproto3.CopyDone:
				return true
			}
			return false
		})
		if err != nil {
			return n, err
		}
		d, more := m.(*pgproto3.CopyData)
		if !more {
			_, err := c.until(isReady)
			return n, err
		}
		if _, err := w.Write(d.Data); err != nil {
			return n, err
		}
		n += int64(len(d.Data))
	}
}

// Row does a command that is answered by one row of one column. ok is false where that is NULL.
func (c *Conn) Row(query string) (value string, ok bool, err error) {
	m, err := c.command(query, func(m pgproto3.BackendMessage) bool { _, ok := m.(*pgproto3.DataRow); return ok })
	if err != nil {
		return "", false, err
	}
	if row := m.(*pgproto3.DataRow).Values; len(row) == 1 && row[0] != nil {
		value, ok = string(row[0]), true
	}
	_, err = c.until(isReady)
	return value, ok, err
}
