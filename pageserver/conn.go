package pageserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/stratapg/strata/pageserver/auth"
)

// Error codes as Neon gives them.
const (
	codeReconnect = "08006"
	codeShutdown  = "57P01"
	codeOther     = "XX000"
)

// conn is one client. Its goroutine reads; only that of a stream's answers writes while there is one.
type conn struct {
	s  *Server
	nc net.Conn
	be *wire
	// may is what the client's token allows, where tokens are asked for.
	may auth.Claims
	// stopped says that the server ends, and writes are to take no longer than its grace.
	stopped atomic.Bool
	// query is what Parse or Bind left for Execute.
	query string
}

var errShutdown = errors.New("the server shuts down")

// serve talks to the client until one of both ends it. An orderly end is no error.
func (c *conn) serve(ctx context.Context) error {
	nc := c.nc // without TLS, whose deadlines are the same
	stop := context.AfterFunc(ctx, func() {
		c.stopped.Store(true)
		_ = nc.SetReadDeadline(time.Unix(1, 0))
		_ = nc.SetWriteDeadline(time.Now().Add(c.s.c.Grace))
	})
	defer stop()
	if t, ok := c.nc.(*net.TCPConn); ok {
		_ = t.SetNoDelay(true)
	}
	_ = c.nc.SetDeadline(time.Now().Add(c.s.c.Startup))
	if err := c.startup(); err != nil {
		return ended(ctx, err)
	}
	_ = c.nc.SetDeadline(time.Time{})
	for {
		m, err := c.receive(ctx)
		if err != nil {
			return c.bye(ctx, err)
		}
		done, err := c.message(ctx, m)
		if done || err != nil {
			return c.bye(ctx, err)
		}
	}
}

// bye tells a client that is still there why it is left.
func (c *conn) bye(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		c.fail(codeShutdown, errShutdown)
		_ = c.flush()
	}
	return ended(ctx, err)
}

// ended is the error of a connection, nil where it had to end or the client just left.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// startup goes through what comes before the first query.
func (c *conn) startup() error {
	c.be = newWire(c.nc)
	for {
		m, err := c.be.ReceiveStartup()
		if err != nil {
			return err
		}
		switch m.(type) {
		case *pgproto3.SSLRequest:
			if err := c.offerTLS(); err != nil {
				return err
			}
		case *pgproto3.GSSEncRequest:
			if _, err := c.nc.Write([]byte{'N'}); err != nil {
				return err
			}
		case *pgproto3.StartupMessage:
			return c.greet()
		default:
			return fmt.Errorf("%T instead of a startup message", m)
		}
	}
}

func (c *conn) offerTLS() error {
	if c.s.c.TLS == nil {
		_, err := c.nc.Write([]byte{'N'})
		return err
	}
	if n := c.be.in.Buffered(); n > 0 {
		return fmt.Errorf("%d bytes that are not encrypted follow the wish for TLS", n)
	}
	if _, err := c.nc.Write([]byte{'S'}); err != nil {
		return err
	}
	t := tls.Server(c.nc, c.s.c.TLS)
	if err := t.Handshake(); err != nil {
		return err
	}
	c.nc, c.be = t, newWire(t)
	return nil
}

func (c *conn) greet() error {
	if _, encrypted := c.nc.(*tls.Conn); c.s.c.RequireTLS && !encrypted {
		err := errors.New("this server is reached with TLS only: sslmode=require")
		c.fail(codeOther, err)
		return errors.Join(err, c.flush())
	}
	parameters := [][2]string{{"client_encoding", "UTF8"}, {"integer_datetimes", "on"}}
	if c.s.c.Auth == nil {
		parameters = append(parameters, [2]string{"server_version", "14.1"}) // Neon names it to those alone whom it does not ask
	} else if err := c.authenticate(); err != nil {
		return err
	}
	c.be.Send(&pgproto3.AuthenticationOk{})
	for _, p := range parameters {
		c.be.Send(&pgproto3.ParameterStatus{Name: p[0], Value: p[1]})
	}
	return c.ready()
}

// authenticate asks for a token, and refuses the client if it is not good.
func (c *conn) authenticate() error {
	c.be.Send(&pgproto3.AuthenticationCleartextPassword{})
	if err := c.flush(); err != nil {
		return err
	}
	m, err := c.be.Receive()
	if err != nil {
		return err
	}
	password, ok := m.(*pgproto3.PasswordMessage)
	if !ok {
		return fmt.Errorf("%T instead of a password", m)
	}
	if c.may, err = c.s.c.Auth.Verify(password.Password); err != nil {
		c.s.metrics.denied.Add(1)
		c.fail(codeOther, err)
		return errors.Join(err, c.flush())
	}
	return nil
}

// receive waits for the next message.
func (c *conn) receive(ctx context.Context) (pgproto3.FrontendMessage, error) {
	if !c.be.Arrived() {
		_ = c.nc.SetReadDeadline(time.Now().Add(c.s.c.Idle))
	}
	if ctx.Err() != nil { // its end may have come before the deadline was set
		return nil, ctx.Err()
	}
	return c.be.Receive()
}

// flush writes what was sent.
func (c *conn) flush() error {
	c.beforeWrite()
	return c.be.Flush()
}

// beforeWrite says until when a write may take.
func (c *conn) beforeWrite() {
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.s.c.Idle))
	if c.stopped.Load() { // it may have been said before
		_ = c.nc.SetWriteDeadline(time.Now().Add(c.s.c.Grace))
	}
}

func (c *conn) ready() error {
	c.be.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	return c.flush()
}

// fail sends an error.
func (c *conn) fail(code string, err error) {
	c.be.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: code, Message: err.Error()})
}

// message handles one message outside a stream. It reports whether the client wants no more.
func (c *conn) message(ctx context.Context, m pgproto3.FrontendMessage) (done bool, err error) {
	switch m := m.(type) {
	case *pgproto3.Query:
		if err := c.run(ctx, m.String); err != nil {
			return false, err
		}
		return false, c.ready()
	case *pgproto3.Parse:
		c.query = m.Query
		c.be.Send(&pgproto3.ParseComplete{})
	case *pgproto3.Bind:
		c.be.Send(&pgproto3.BindComplete{})
	case *pgproto3.Describe:
		if m.ObjectType == 'S' {
			c.be.Send(&pgproto3.ParameterDescription{})
		}
		c.be.Send(&pgproto3.NoData{})
	case *pgproto3.Execute:
		return false, c.run(ctx, c.query)
	case *pgproto3.Close:
		c.be.Send(&pgproto3.CloseComplete{})
	case *pgproto3.Flush:
		return false, c.flush()
	case *pgproto3.Sync:
		return false, c.ready()
	case *pgproto3.Terminate:
		return true, nil
	default:
		c.fail(codeOther, fmt.Errorf("%T is not expected here", m))
		return false, c.ready()
	}
	return false, nil
}

// run does a command. What is wrong with it the client is told; the error is one of the connection.
func (c *conn) run(ctx context.Context, query string) error {
	cmd, err := parseCommand(query)
	if err == nil {
		start := time.Now()
		err = cmd.run(ctx, c)
		c.s.metrics.command(cmd, time.Since(start), err != nil)
	}
	var gone connError
	if errors.As(err, &gone) || ctx.Err() != nil {
		return err
	}
	if err != nil {
		c.fail(codeOther, err)
	}
	return c.flush()
}

// connError is an error after which the connection cannot go on.
type connError struct{ error }

func (e connError) Unwrap() error { return e.error }
