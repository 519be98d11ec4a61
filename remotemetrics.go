package strata

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratapg/strata/remote"
)

// RemoteRequests tell of all requests of one kind to remote storage.
type RemoteRequests = remote.Requests

// RemoteTurns say how the requests of a kind share those that may run at once.
type RemoteTurns = remote.Turns

// RemoteKind is that of a request.
type RemoteKind = remote.Kind

// RemoteRequests gives what is known of a kind of requests to remote storage, zeros if there is none.
func (e *Engine) RemoteRequests(k RemoteKind) RemoteRequests {
	if e.remote == nil {
		return RemoteRequests{}
	}
	return e.remote.Requests(k)
}

// RemoteTurns gives how requests of a kind get theirs; ok is false if nothing bounds how many run at once.
func (e *Engine) RemoteTurns(k RemoteKind) (t RemoteTurns, ok bool) {
	if e.remote == nil {
		return t, false
	}
	return e.remote.Turns(k)
}

// requestCollector tells of requests to remote storage by kind.
type requestCollector struct {
	engine                                            *Engine
	requests, seconds, bytes, objects, running        *prometheus.Desc
	turnLimit, turnWaiting, turnWaits, turnWaitSecond *prometheus.Desc
}

func newRequestCollector(e *Engine) *requestCollector {
	labels := prometheus.Labels{"store": e.Info().ID}
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc("strata_remote_"+name, help, append([]string{"kind"}, more...), labels)
	}
	return &requestCollector{e,
		desc("requests_total", "Requests to remote storage, by how they ended.", "result"),
		desc("request_seconds_total", "Time that they took, with the waits for their turns."),
		desc("request_bytes_total", "Bytes that they sent or received."),
		desc("request_objects_total", "Objects that they listed or deleted."),
		desc("requests_running", "Requests that run, or wait to."),
		desc("turns", "How many requests may run at once."),
		desc("turns_waiting", "Requests that wait for their turn."),
		desc("turn_waits_total", "Requests that had to wait for their turn."),
		desc("turn_wait_seconds_total", "How long they waited."),
	}
}

// Describe implements prometheus.Collector.
func (c *requestCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.requests, c.seconds, c.bytes, c.objects, c.running, c.turnLimit, c.turnWaiting, c.turnWaits, c.turnWaitSecond} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *requestCollector) Collect(out chan<- prometheus.Metric) {
	for _, k := range remote.Kinds() {
		give := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, more ...string) {
			out <- prometheus.MustNewConstMetric(d, kind, v, append([]string{k.String()}, more...)...)
		}
		r := c.engine.RemoteRequests(k)
		give(c.requests, counter, float64(r.Done), "done")
		give(c.requests, counter, float64(r.Failed), "failed")
		give(c.requests, counter, float64(r.Cancelled), "cancelled")
		give(c.seconds, counter, r.Time.Seconds())
		give(c.bytes, counter, float64(r.Bytes))
		give(c.objects, counter, float64(r.Keys))
		give(c.running, gauge, float64(r.Running))
		if t, ok := c.engine.RemoteTurns(k); ok {
			give(c.turnLimit, gauge, float64(t.Limit))
			give(c.turnWaiting, gauge, float64(t.Waiting))
			give(c.turnWaits, counter, float64(t.Waits))
			give(c.turnWaitSecond, counter, t.Waited.Seconds())
		}
	}
}
