package manage

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/pageserver/auth"
	"github.com/stratapg/strata/pageserver/statuspage"
)

// Config says what to serve and within which limits. What is zero takes its default.
type Config struct {
	Engine *strata.Engine
	// Auth, if set, verifies the bearer's token of each request but those that are for all.
	Auth *auth.Keys
	// Gatherer is what /metrics tells; default nothing.
	Gatherer prometheus.Gatherer
	// Page, if set, is what people see at /.
	Page *statuspage.Page
	// NodeID is the id that /v1/status tells.
	NodeID uint64
	// Testing allows what changes a timeline without WAL, as Neon's builds for tests do.
	Testing bool
	// Connections is how many may be open; further ones are closed at once. Default 512.
	Connections int
	// MaxBody bounds a request's body; default 1 MiB.
	MaxBody int64
	// Header is how long a client may take for a request's head, and once more for its body; default 10 seconds. Idle is how long
	// a connection may be idle, and how long a client may take for an answer; default 2 minutes.
	Header, Idle time.Duration
	// TLS, if set, is what connections have to speak.
	TLS *tls.Config
	// Logger is told of requests that failed here (5xx); default: nobody.
	Logger *slog.Logger
}

// Server answers requests. It is an http.Handler, and its methods may be called from many goroutines.
type Server struct {
	c       Config
	mux     *http.ServeMux
	started string
	aux     sync.Mutex // held by who writes auxiliary files
	open    atomic.Int64
	refused atomic.Int64
}

// New makes a server. The engine stays the caller's, who closes it after Serve has returned.
func New(c Config) (*Server, error) {
	if c.Engine == nil {
		return nil, errors.New("a management API needs an engine")
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 1 << 20
	}
	if c.Connections <= 0 {
		c.Connections = 512
	}
	if c.Header <= 0 {
		c.Header = 10 * time.Second
	}
	if c.Idle <= 0 {
		c.Idle = 2 * time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{c: c, mux: http.NewServeMux(), started: strconv.FormatInt(time.Now().UnixNano(), 10)}
	for _, r := range routes() {
		s.mux.Handle(r.method+" "+r.path, s.handler(r))
	}
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("PAGESERVER_LAUNCH_TIMESTAMP", s.started)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	h, pattern := s.mux.Handler(r)
	if pattern == "" { // the mux knows whether it is the path or the method
		n := &noted{header: http.Header{}}
		h.ServeHTTP(n, r)
		if allow := n.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
		}
		s.fail(w, r, &statusError{max(n.code, http.StatusNotFound), fmt.Errorf("there is no %s %s; see /openapi.json", r.Method, r.URL.Path)})
		return
	}
	s.mux.ServeHTTP(w, s.with(r))
}

// noted is an answer of which only the head counts.
type noted struct {
	header http.Header
	code   int
}

func (n *noted) Header() http.Header         { return n.header }
func (n *noted) Write(b []byte) (int, error) { return len(b), nil }
func (n *noted) WriteHeader(code int)        { n.code = code }

// count keeps account of connections, and closes those that are too many.
func (s *Server) count(nc net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if s.open.Add(1) > int64(s.c.Connections) {
			s.refused.Add(1)
			nc.Close()
		}
	case http.StateClosed, http.StateHijacked:
		s.open.Add(-1)
	}
}

var (
	connectionsOpen = prometheus.NewDesc("strata_manage_connections", "Open connections of the management API.", nil, nil)
	refusedTotal    = prometheus.NewDesc("strata_manage_refused_total", "Connections of the management API over the limit.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s *Server) Describe(out chan<- *prometheus.Desc) {
	out <- connectionsOpen
	out <- refusedTotal
}

// Collect implements prometheus.Collector.
func (s *Server) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(connectionsOpen, prometheus.GaugeValue, float64(s.open.Load()))
	out <- prometheus.MustNewConstMetric(refusedTotal, prometheus.CounterValue, float64(s.refused.Load()))
}

// grace is how long requests may go on after the server was told to stop.
const grace = 5 * time.Second

// Serve answers requests until ctx ends, which also ends the work that requests have asked for. It returns nil after the end
// of ctx, once all requests have been answered, or the error of the listener, which it closes.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if s.c.TLS != nil {
		l = tls.NewListener(l, s.c.TLS)
	}
	h := &http.Server{
		Handler: s, ReadHeaderTimeout: s.c.Header, IdleTimeout: s.c.Idle, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(s.c.Logger.Handler(), slog.LevelInfo),
		ConnState:   s.count,
	}
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err := h.Shutdown(limited)
		if err != nil {
			err = h.Close()
		}
		ended <- err
	})
	err := h.Serve(l)
	if !stop() {
		return <-ended
	}
	return fmt.Errorf("serving HTTP at %s: %w", l.Addr(), err)
}
