package pageapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // for clients that ask for it
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/pageserver/answer"
	"github.com/stratapg/strata/pageserver/auth"
	"github.com/stratapg/strata/pageserver/pageapi/pb"
	"github.com/stratapg/strata/pg"
)

// Config says what to serve and within which limits. What is zero takes its default.
type Config struct {
	Engine *strata.Engine
	// Connections is how many may be open; further ones are closed at once. Default 4,096.
	Connections int
	// Streams is how many calls a connection may have under way; default 256. Calls is how many all of them together may;
	// further ones are refused. Default 16,384.
	Streams uint32
	Calls   int
	// Batch is how many pages a request may ask for; default 32.
	Batch int
	// MaxMessage bounds what a client may send in one message; default 64 KiB.
	MaxMessage int
	// Memory bounds the pages of all clients together, in bytes, from when they are read until they are sent; default 256 MiB.
	// Slow is how long a client may take for them while others wait for memory; default 5 seconds.
	Memory int64
	Slow   time.Duration
	// WaitLSN is how long a request may wait for WAL; default 5 minutes.
	WaitLSN time.Duration
	// Startup is how long a client may take until its connection is made; default 30 seconds.
	Startup time.Duration
	// Ping is after how long a silent client is asked whether it is there, at least a second, and Pong how long it may take to
	// say so, or else its connection is closed: it is half open. Default 30 and 20 seconds.
	Ping, Pong time.Duration
	// Idle is how long a client may take for an answer; default 10 minutes.
	Idle time.Duration
	// Grace is how long requests may go on after the server was told to stop; default 5 seconds.
	Grace time.Duration
	// TLS, if set, is what connections have to speak.
	TLS *tls.Config
	// Auth, if set, verifies the token of each call; without it nobody is asked.
	Auth *auth.Keys
	// Logger is told of what failed here; default: nobody.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	for p, v := range map[*time.Duration]time.Duration{&c.WaitLSN: 5 * time.Minute, &c.Startup: 30 * time.Second, &c.Idle: 10 * time.Minute, &c.Grace: 5 * time.Second, &c.Slow: 5 * time.Second, &c.Ping: 30 * time.Second, &c.Pong: 20 * time.Second} {
		if *p <= 0 {
			*p = v
		}
	}
	for p, v := range map[*int]int{&c.Connections: 4096, &c.Calls: 16384, &c.Batch: 32, &c.MaxMessage: 64 << 10} {
		if *p <= 0 {
			*p = v
		}
	}
	if c.Streams == 0 {
		c.Streams = 256
	}
	if c.Memory <= 0 {
		c.Memory = 256 << 20
	}
	c.Memory = max(c.Memory, 2*int64(c.Batch)*pg.BlockSize)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Server serves an engine. Its methods may be called from many goroutines.
type Server struct {
	pb.UnimplementedPageServiceServer
	c       Config
	metrics metrics
	memory  *answer.Memory
	conns   connections
	calls   *admission
	// ctx ends when the server is told to stop; of each Serve.
	ctx context.Context
}

// New makes a server. The engine stays the caller's, who closes it after Serve has returned.
func New(c Config) (*Server, error) {
	if c.Engine == nil {
		return nil, errors.New("a page server needs an engine")
	}
	c = c.withDefaults()
	return &Server{c: c, memory: answer.NewMemory(c.Memory, c.Slow), calls: &admission{most: int64(c.Calls)}, ctx: context.Background()}, nil
}

// Serve accepts connections until ctx ends. What is being answered then has Config.Grace to end; what waits for WAL is told
// that the server shuts down. It returns nil after the end of ctx, once no goroutine of its own is left, or the error of the
// listener, which it closes. It is called once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.ctx = ctx
	g := grpc.NewServer(s.options()...)
	pb.RegisterPageServiceServer(g, s)
	state := health.NewServer()
	grpc_health_v1.RegisterHealthServer(g, state)
	reflection.Register(g)
	state.SetServingStatus(pb.PageService_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		state.Shutdown()
		s.stop(g)
	})
	err := g.Serve(s.conns.listen(l, s.c.Connections))
	if !stop() {
		<-stopped
		return nil
	}
	g.Stop()
	return fmt.Errorf("serving gRPC at %s: %w", l.Addr(), err)
}

// stop ends connections: those without a request at once, the others when they have been answered or their grace is over.
func (s *Server) stop(g *grpc.Server) {
	graceful := make(chan struct{})
	go func() { // it ends with g.Stop at the latest, which is waited for
		defer close(graceful)
		g.GracefulStop()
	}()
	limited, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.c.Grace)
	defer cancel()
	s.metrics.idle(limited)
	g.Stop()
	<-graceful
}

// pingsAtMost is how often a client may ask whether the server is there; Neon's do every 30 seconds.
const pingsAtMost = 5 * time.Second

func (s *Server) options() []grpc.ServerOption {
	const headers = 32 << 10
	o := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(s.c.MaxMessage), grpc.MaxConcurrentStreams(s.c.Streams), grpc.MaxHeaderListSize(headers),
		grpc.ConnectionTimeout(s.c.Startup),
		grpc.UnaryInterceptor(s.calls.unary), grpc.StreamInterceptor(s.calls.stream),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: s.c.Ping, Timeout: s.c.Pong}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingsAtMost, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true), grpc.ForceServerCodecV2(newCodec()),
	}
	if s.c.TLS != nil {
		o = append(o, grpc.Creds(credentials.NewTLS(s.c.TLS)))
	}
	return o
}

// Metrics says what the server has done since it was made.
func (s *Server) Metrics() Metrics {
	m := s.metrics.get()
	m.Connections, m.Accepted, m.Refused = s.conns.count()
	m.Calls, m.CallsLimit, m.CallsRefused = s.calls.open.Load(), s.calls.most, s.calls.refused.Load()
	m.Memory = s.memory.Metrics()
	return m
}
