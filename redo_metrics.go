package strata

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratapg/strata/walredo/pool"
)

// redoMetric is one number of RedoMetrics as Prometheus sees it.
type redoMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*RedoMetrics) int64
}

// redoCollector gives a snapshot of RedoMetrics at each scrape, where there are redo processes.
type redoCollector struct {
	engine  *Engine
	metrics []redoMetric
	latency *prometheus.Desc
}

func (c *redoCollector) add(name, help string, kind prometheus.ValueType, value func(*RedoMetrics) int64, labels ...string) {
	c.metrics = append(c.metrics, redoMetric{c.desc(name, help, labels...), kind, value})
}

func (c *redoCollector) desc(name, help string, labels ...string) *prometheus.Desc {
	l := prometheus.Labels{"store": c.engine.Info().ID}
	for i := 0; i < len(labels); i += 2 {
		l[labels[i]] = labels[i+1]
	}
	return prometheus.NewDesc("strata_"+name, help, nil, l)
}

func newRedoCollector(e *Engine) *redoCollector {
	c := &redoCollector{engine: e}
	c.latency = c.desc("redo_pool_seconds", "Time that a page took from the call to its end, all waiting included.")
	c.addRequests()
	c.addProcesses()
	return c
}

// addRequests defines what came of what was asked for.
func (c *redoCollector) addRequests() {
	c.add("redo_pool_requests_total", "Pages asked for from redo processes.", counter, func(m *RedoMetrics) int64 { return m.Pool.Requests })
	const help = "Pages by how their request ended."
	outcome := func(outcome string, value func(*pool.Metrics) int64) {
		c.add("redo_pool_results_total", help, counter, func(m *RedoMetrics) int64 { return value(&m.Pool) }, "outcome", outcome)
	}
	outcome("page", func(m *pool.Metrics) int64 { return m.Pages })
	outcome("refused", func(m *pool.Metrics) int64 { return m.Refused })
	outcome("failed", func(m *pool.Metrics) int64 { return m.Failed })
	outcome("timeout", func(m *pool.Metrics) int64 { return m.Timeouts })
	outcome("cancelled", func(m *pool.Metrics) int64 { return m.Cancelled })
	c.add("redo_pool_retries_total", "Attempts after a process failed at a request.", counter, func(m *RedoMetrics) int64 { return m.Pool.Retries })
	c.add("redo_pool_moved_total", "Requests that went to another process as theirs failed at another's.", counter, func(m *RedoMetrics) int64 { return m.Pool.Moved })
	c.add("redo_pool_waits_total", "Requests that waited for MaxRequests or MaxBytes.", counter, func(m *RedoMetrics) int64 { return m.Pool.Waits })
	c.add("redo_pool_bytes_total", "Bytes sent to redo processes.", counter, func(m *RedoMetrics) int64 { return m.Pool.Bytes })
	c.add("redo_pool_in_flight", "Requests in processes or on the way there.", gauge, func(m *RedoMetrics) int64 { return m.Pool.InFlight })
	c.add("redo_pool_waiting", "Requests that wait for MaxRequests or MaxBytes.", gauge, func(m *RedoMetrics) int64 { return m.Pool.Waiting })
	c.add("redo_pool_held_bytes", "Memory of requests.", gauge, func(m *RedoMetrics) int64 { return m.Pool.HeldBytes })
	c.add("redo_runs_total", "Runs of records by who applied them.", counter, func(m *RedoMetrics) int64 { return m.Choice.Native }, "by", "native")
	c.add("redo_runs_total", "Runs of records by who applied them.", counter, func(m *RedoMetrics) int64 { return m.Choice.Pool }, "by", "pool")
	c.add("redo_compared_total", "Pages made in both ways.", counter, func(m *RedoMetrics) int64 { return m.Choice.Compared })
	c.add("redo_disagreements_total", "Pages that differed when made in both ways.", counter, func(m *RedoMetrics) int64 { return m.Choice.Disagreements })
}

// addProcesses defines how processes live and end.
func (c *redoCollector) addProcesses() {
	c.add("redo_processes", "Redo processes running.", gauge, func(m *RedoMetrics) int64 { return m.Pool.Processes })
	c.add("redo_process_launches_total", "Redo processes started.", counter, func(m *RedoMetrics) int64 { return m.Pool.Launches })
	c.add("redo_process_launch_failures_total", "Redo processes that could not be started, or did not answer.", counter, func(m *RedoMetrics) int64 { return m.Pool.LaunchFailures })
	const help = "Redo processes by why they ended: by themselves, or killed."
	end := func(cause string, value func(*pool.Metrics) int64) {
		c.add("redo_process_ends_total", help, counter, func(m *RedoMetrics) int64 { return value(&m.Pool) }, "cause", cause)
	}
	end("crash", func(m *pool.Metrics) int64 { return m.Crashes })
	end("stall", func(m *pool.Metrics) int64 { return m.Stalls })
	end("nonsense", func(m *pool.Metrics) int64 { return m.Nonsense })
	end("idle", func(m *pool.Metrics) int64 { return m.Idle })
	c.add("redo_process_stderr_lines_total", "Lines that redo processes wrote on stderr.", counter, func(m *RedoMetrics) int64 { return m.Pool.StderrLines })
	c.add("redo_process_stderr_dropped_total", "Of them, lines that were not logged.", counter, func(m *RedoMetrics) int64 { return m.Pool.StderrDropped })
}

// Describe implements prometheus.Collector.
func (c *redoCollector) Describe(out chan<- *prometheus.Desc) {
	for i := range c.metrics {
		out <- c.metrics[i].desc
	}
	out <- c.latency
}

// Collect implements prometheus.Collector.
func (c *redoCollector) Collect(out chan<- prometheus.Metric) {
	m := c.engine.RedoMetrics()
	for i := range c.metrics {
		x := &c.metrics[i]
		out <- prometheus.MustNewConstMetric(x.desc, x.kind, float64(x.value(&m)))
	}
	l := &m.Pool.Latency
	below, count := map[float64]uint64{}, uint64(0)
	for i, n := range l.Classes {
		count += uint64(n)
		if i < len(pool.LatencyBounds) {
			below[pool.LatencyBounds[i].Seconds()] = count
		}
	}
	out <- prometheus.MustNewConstHistogram(c.latency, count, l.Total.Seconds(), below)
}
