package pageserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/pageserver/answer"
	"github.com/stratapg/strata/pageserver/auth"
	"github.com/stratapg/strata/pg"
)

// Config says what to serve and within which limits. What is zero takes its default.
type Config struct {
	Engine *strata.Engine
	// Connections is how many may be open; further ones are closed at once. Default 4,096.
	Connections int
	// Queue is how many requests of a stream may wait; default 256. Batch is how many pages are read at once; default 32.
	Queue, Batch int
	// Memory bounds the answers of all clients together, in bytes, from when they are read until they are sent; default 512 MiB.
	// Slow is how long a client may take for an answer while others wait for memory; default 5 seconds.
	Memory int64
	Slow   time.Duration
	// WaitLSN is how long a request may wait for WAL; default 5 minutes.
	WaitLSN time.Duration
	// Startup is how long a client may take until it may send queries; default 30 seconds.
	Startup time.Duration
	// Idle is how long a client may be silent, and how long a write may take; default 10 minutes.
	Idle time.Duration
	// Grace is how long a client may take for what is being written when the server is told to stop; default 5 seconds.
	Grace time.Duration
	// TLS, if set, is offered; with RequireTLS those who do not want it are refused.
	TLS        *tls.Config
	RequireTLS bool
	// Auth, if set, verifies the token that each client has to send as its password; without it nobody is asked.
	Auth *auth.Keys
	// Logger is told of connections that ended with an error; default: nobody.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.WaitLSN, 5*time.Minute)
	def(&c.Startup, 30*time.Second)
	def(&c.Idle, 10*time.Minute)
	def(&c.Slow, 5*time.Second)
	def(&c.Grace, 5*time.Second)
	if c.Memory <= 0 {
		c.Memory = 512 << 20
	}
	for p, v := range map[*int]int{&c.Connections: 4096, &c.Queue: 256, &c.Batch: 32} {
		if *p <= 0 {
			*p = v
		}
	}
	c.Memory = max(c.Memory, 2*int64(c.Batch)*pg.BlockSize)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Server serves an engine. Its methods may be called from many goroutines.
type Server struct {
	c       Config
	metrics metrics
	memory  *answer.Memory
	// socketRoom is how much of what is sent a client may not have read yet.
	socketRoom int64

	mu    sync.Mutex
	conns map[*conn]struct{}
}

// New makes a server. The engine stays the caller's, who closes it after Serve has returned.
func New(c Config) (*Server, error) {
	if c.Engine == nil {
		return nil, errors.New("a page server needs an engine")
	}
	if c.RequireTLS && c.TLS == nil {
		return nil, errors.New("a page server that requires TLS needs a certificate")
	}
	c = c.withDefaults()
	return &Server{c: c, conns: map[*conn]struct{}{}, memory: answer.NewMemory(c.Memory, c.Slow), socketRoom: roomOfSockets()}, nil
}

// Serve accepts connections until ctx ends, and then closes them: what a stream is reading just then is answered, what
// waits is not. It returns nil after the end of ctx, once no goroutine of its own is left, or the error of the listener,
// which it closes.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	for {
		nc, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				nc.Close()
			}
			return nil
		}
		if err != nil {
			var passing interface{ Temporary() bool }
			if errors.As(err, &passing) && passing.Temporary() {
				s.c.Logger.Warn("accepting a connection failed", "error", err)
				pause(ctx, 100*time.Millisecond)
				continue
			}
			cancel()
			l.Close()
			return fmt.Errorf("accepting connections at %s: %w", l.Addr(), err)
		}
		c := s.admit(nc)
		if c == nil {
			nc.Close()
			continue
		}
		all.Add(1)
		go func() {
			defer all.Done()
			defer s.forget(c)
			if err := c.serve(ctx); err != nil {
				s.c.Logger.Info("a connection ended", "client", nc.RemoteAddr().String(), "error", err)
			}
		}()
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// admit makes room for a connection, nil if there is none.
func (s *Server) admit(nc net.Conn) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= s.c.Connections {
		s.metrics.refused.Add(1)
		return nil
	}
	c := &conn{s: s, nc: nc}
	s.conns[c] = struct{}{}
	s.metrics.accepted.Add(1)
	return c
}

func (s *Server) forget(c *conn) {
	c.nc.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Metrics says what the server has done since it was made.
func (s *Server) Metrics() Metrics {
	m := s.metrics.get()
	m.Memory = s.memory.Metrics()
	s.mu.Lock()
	defer s.mu.Unlock()
	m.Connections = int64(len(s.conns))
	return m
}
