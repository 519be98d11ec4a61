package pageserver

import (
	"sync/atomic"

	"github.com/stratapg/strata/pageserver/pagestream"
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
}

type metrics struct {
	accepted, refused, denied, batches, pages, waits, fileBytes atomic.Int64
	requests, failed                                            [pagestream.SLRUSegment + 1]atomic.Int64
}

func (m *metrics) get() Metrics {
	out := Metrics{Accepted: m.accepted.Load(), Refused: m.refused.Load(), Denied: m.denied.Load(), Batches: m.batches.Load(), Pages: m.pages.Load(), Waits: m.waits.Load(), FileBytes: m.fileBytes.Load()}
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
	}
}
