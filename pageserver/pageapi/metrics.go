package pageapi

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratapg/strata/pageserver/answer"
	"github.com/stratapg/strata/pageserver/tally"
)

// Metrics are counts since the server was made, but for Connections and Calls, those open now.
type Metrics struct {
	Connections, Accepted, Refused int64
	// Calls are under way, of all connections; CallsRefused is how many were refused since there were CallsLimit.
	Calls, CallsLimit, CallsRefused int64
	// Denied counts calls that a token did not allow, or that had none.
	Denied int64
	// Requests are those that were answered.
	Requests tally.Reading
	// Pages counts pages that were asked for, several in one request.
	Pages int64
	// Waits counts the requests that waited for WAL.
	Waits int64
	// Late counts connections that were broken off because their client did not take an answer.
	Late int64
	// Memory is that of answers.
	Memory answer.MemoryMetrics
}

type metrics struct {
	denied, pages, waits, late atomic.Int64
	counts                     tally.Counts

	mu    sync.Mutex
	under int           // requests under way
	none  chan struct{} // closed when there is none, where somebody waits for that
}

func (m *metrics) get() Metrics {
	return Metrics{Denied: m.denied.Load(), Requests: m.counts.Read(), Pages: m.pages.Load(), Waits: m.waits.Load(), Late: m.late.Load()}
}

// begin counts a request; done is called when it was answered.
func (m *metrics) begin(k tally.Kind) (done func(failed bool)) {
	m.mu.Lock()
	m.under++
	m.mu.Unlock()
	start := time.Now()
	return func(failed bool) {
		m.counts.Answered(k, time.Since(start), 1)
		if failed {
			m.counts.Failed(k)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.under--; m.under == 0 && m.none != nil {
			close(m.none)
			m.none = nil
		}
	}
}

// idle waits until no request is under way, or ctx ends.
func (m *metrics) idle(ctx context.Context) {
	m.mu.Lock()
	if m.under == 0 {
		m.mu.Unlock()
		return
	}
	if m.none == nil {
		m.none = make(chan struct{})
	}
	none := m.none
	m.mu.Unlock()
	select {
	case <-none:
	case <-ctx.Done():
	}
}

var (
	connectionsOpen = prometheus.NewDesc("strata_pageapi_connections", "Open gRPC connections.", nil, nil)
	callsOpen       = prometheus.NewDesc("strata_pageapi_calls", "Calls that are under way.", nil, nil)
	callsLimit      = prometheus.NewDesc("strata_pageapi_calls_limit", "How many may be.", nil, nil)
	refusedTotal    = prometheus.NewDesc("strata_pageapi_refused_total", "Connections and calls over the limit, calls without a token that allows them, and clients that did not take answers.", []string{"reason"}, nil)
	answerBytes     = prometheus.NewDesc("strata_pageapi_answer_bytes", "Memory of pages that are read or sent.", nil, nil)
	answerLimit     = prometheus.NewDesc("strata_pageapi_answer_bytes_limit", "What that may be.", nil, nil)
	answerWaits     = prometheus.NewDesc("strata_pageapi_answer_waits_total", "Requests that waited for memory.", nil, nil)
	pagesTotal      = prometheus.NewDesc("strata_pageapi_pages_total", "Pages asked for over gRPC.", nil, nil)
	waitsTotal      = prometheus.NewDesc("strata_pageapi_waits_total", "Requests that waited for WAL.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s *Server) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connectionsOpen, callsOpen, callsLimit, refusedTotal, pagesTotal, waitsTotal, answerBytes, answerLimit, answerWaits} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Server) Collect(out chan<- prometheus.Metric) {
	m := s.Metrics()
	out <- prometheus.MustNewConstMetric(connectionsOpen, prometheus.GaugeValue, float64(m.Connections))
	out <- prometheus.MustNewConstMetric(refusedTotal, prometheus.CounterValue, float64(m.Refused), "connections")
	out <- prometheus.MustNewConstMetric(refusedTotal, prometheus.CounterValue, float64(m.CallsRefused), "calls")
	out <- prometheus.MustNewConstMetric(callsOpen, prometheus.GaugeValue, float64(m.Calls))
	out <- prometheus.MustNewConstMetric(callsLimit, prometheus.GaugeValue, float64(m.CallsLimit))
	out <- prometheus.MustNewConstMetric(refusedTotal, prometheus.CounterValue, float64(m.Denied), "token")
	out <- prometheus.MustNewConstMetric(refusedTotal, prometheus.CounterValue, float64(m.Late), "late")
	out <- prometheus.MustNewConstMetric(pagesTotal, prometheus.CounterValue, float64(m.Pages))
	out <- prometheus.MustNewConstMetric(waitsTotal, prometheus.CounterValue, float64(m.Waits))
	out <- prometheus.MustNewConstMetric(answerBytes, prometheus.GaugeValue, float64(m.Memory.Used))
	out <- prometheus.MustNewConstMetric(answerLimit, prometheus.GaugeValue, float64(m.Memory.Limit))
	out <- prometheus.MustNewConstMetric(answerWaits, prometheus.CounterValue, float64(m.Memory.Waits))
}

// Counts gives what was asked for, for a page of status and for Prometheus.
func (s *Server) Counts() *tally.Counts { return &s.metrics.counts }
