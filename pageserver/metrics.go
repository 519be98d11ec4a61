package pageserver

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratapg/strata/pageserver/answer"
	"github.com/stratapg/strata/pageserver/pagestream"
	"github.com/stratapg/strata/pageserver/tally"
)

// Metrics are counts since the server was made, but for Connections, those open now.
type Metrics struct {
	Connections, Accepted, Refused int64
	// Denied counts tokens that were not believed, and commands that a token did not allow.
	Denied int64
	// Requests and Failed count by kind what was answered, and those of it that were answered by an error.
	Requests, Failed [pagestream.SLRUSegment + 1]int64
	// Batches counts reads of pages; Pages/Batches is how many were read at once.
	Batches, Pages int64
	// Waits counts the requests that waited for WAL.
	Waits int64
	// FileBytes counts what of backups went from files to sockets within the kernel.
	FileBytes int64
	// Late counts clients that took an answer too slowly while others waited for memory.
	Late int64
	// Memory is that of answers.
	Memory answer.MemoryMetrics
}

type metrics struct {
	accepted, refused, denied, batches, pages, waits, fileBytes, late atomic.Int64
	requests, failed                                                  [pagestream.SLRUSegment + 1]atomic.Int64
	counts                                                            tally.Counts
}

// tallyKind gives the kind as all protocols count it.
func tallyKind(k pagestream.Kind) tally.Kind {
	return [...]tally.Kind{tally.Exists, tally.RelationSize, tally.Page, tally.DatabaseSize, tally.SLRUSegment}[k]
}

func (m *metrics) get() Metrics {
	out := Metrics{Accepted: m.accepted.Load(), Refused: m.refused.Load(), Denied: m.denied.Load(), Batches: m.batches.Load(), Pages: m.pages.Load(), Waits: m.waits.Load(), FileBytes: m.fileBytes.Load(), Late: m.late.Load()}
	for i := range m.requests {
		out.Requests[i], out.Failed[i] = m.requests[i].Load(), m.failed[i].Load()
	}
	return out
}

// answered counts an answer.
func (m *metrics) answered(k pagestream.Kind, failed bool) {
	m.requests[k].Add(1)
	if failed {
		m.failed[k].Add(1)
		m.counts.Failed(tallyKind(k))
	}
}

// command counts one that is answered as a whole.
func (m *metrics) command(c command, took time.Duration, failed bool) {
	k := tally.BaseBackup
	switch c.(type) {
	case backupCommand:
	case leaseCommand:
		k = tally.Lease
	default:
		return
	}
	m.counts.Answered(k, took, 1)
	if failed {
		m.counts.Failed(k)
	}
}

// Counts gives what was asked for, for a page of status and for Prometheus.
func (s *Server) Counts() *tally.Counts { return &s.metrics.counts }

var (
	connectionsOpen = prometheus.NewDesc("strata_pageserver_connections", "Open connections of the PostgreSQL protocol.", nil, nil)
	refusedTotal    = prometheus.NewDesc("strata_pageserver_refused_total", "Connections over the limit, tokens or commands that were not allowed, and clients too slow to be waited for.", []string{"reason"}, nil)
	pagesTotal      = prometheus.NewDesc("strata_pageserver_pages_total", "Pages asked for over pagestream.", nil, nil)
	batchesTotal    = prometheus.NewDesc("strata_pageserver_batches_total", "Reads of pages that were asked for over pagestream.", nil, nil)
	answerBytes     = prometheus.NewDesc("strata_pageserver_answer_bytes", "Memory of answers that are read or sent.", nil, nil)
	answerLimit     = prometheus.NewDesc("strata_pageserver_answer_bytes_limit", "What that may be.", nil, nil)
	answerWaits     = prometheus.NewDesc("strata_pageserver_answer_waits_total", "Answers that waited for memory.", nil, nil)
	waitsTotal      = prometheus.NewDesc("strata_pageserver_waits_total", "Requests that waited for WAL.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s *Server) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connectionsOpen, refusedTotal, pagesTotal, batchesTotal, waitsTotal, answerBytes, answerLimit, answerWaits} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Server) Collect(out chan<- prometheus.Metric) {
	m := s.Metrics()
	out <- prometheus.MustNewConstMetric(connectionsOpen, prometheus.GaugeValue, float64(m.Connections))
	out <- prometheus.MustNewConstMetric(refusedTotal, prometheus.CounterValue, float64(m.Refused), "connections")
	out <- prometheus.MustNewConstMetric(refusedTotal, prometheus.CounterValue, float64(m.Denied), "token")
	out <- prometheus.MustNewConstMetric(refusedTotal, prometheus.CounterValue, float64(m.Late), "slow")
	out <- prometheus.MustNewConstMetric(answerBytes, prometheus.GaugeValue, float64(m.Memory.Used))
	out <- prometheus.MustNewConstMetric(answerLimit, prometheus.GaugeValue, float64(m.Memory.Limit))
	out <- prometheus.MustNewConstMetric(answerWaits, prometheus.CounterValue, float64(m.Memory.Waits))
	out <- prometheus.MustNewConstMetric(pagesTotal, prometheus.CounterValue, float64(m.Pages))
	out <- prometheus.MustNewConstMetric(batchesTotal, prometheus.CounterValue, float64(m.Batches))
	out <- prometheus.MustNewConstMetric(waitsTotal, prometheus.CounterValue, float64(m.Waits))
}
