package strata

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratapg/strata/internal/tenant"
)

// importCollector tells of imports: what they did since the store was opened, and how far those are that are at work.
type importCollector struct {
	engine  *Engine
	metrics []importMetric
}

type importMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*tenant.ImportStats) int64
}

func newImportCollector(e *Engine) *importCollector {
	c := &importCollector{engine: e}
	type stats = tenant.ImportStats
	c.add("imports", "Imports that are not finished.", gauge, func(s *stats) int64 { return s.Running }, "state", "running")
	c.add("imports", "Imports that are not finished.", gauge, func(s *stats) int64 { return s.Interrupted }, "state", "interrupted")
	c.add("imports_ended_total", "Imports that came to an end.", counter, func(s *stats) int64 { return s.Finished }, "result", "finished")
	c.add("imports_ended_total", "Imports that came to an end.", counter, func(s *stats) int64 { return s.Failed }, "result", "failed")
	c.add("import_jobs", "Jobs of the imports that run.", gauge, func(s *stats) int64 { return int64(s.Now.Jobs) }, "of", "all")
	c.add("import_jobs", "Jobs of the imports that run.", gauge, func(s *stats) int64 { return int64(s.Now.JobsDone) }, "of", "done")
	c.add("import_pages", "Pages of the imports that run.", gauge, func(s *stats) int64 { return s.Now.Pages }, "of", "all")
	c.add("import_pages", "Pages of the imports that run.", gauge, func(s *stats) int64 { return s.Now.PagesDone }, "of", "done")
	c.add("import_bytes", "Bytes of the imports that run.", gauge, func(s *stats) int64 { return s.Now.Bytes }, "of", "all")
	c.add("import_bytes", "Bytes of the imports that run.", gauge, func(s *stats) int64 { return s.Now.BytesDone }, "of", "done")
	c.add("import_jobs_done_total", "Jobs of imports that were done.", counter, func(s *stats) int64 { return s.JobsDone })
	c.add("import_pages_done_total", "Their pages.", counter, func(s *stats) int64 { return s.PagesDone })
	c.add("import_retries_total", "Jobs of imports that failed and were begun again.", counter, func(s *stats) int64 { return s.Retries })
	c.add("import_checkpoints_total", "Times that remote storage was told how far an import is.", counter, func(s *stats) int64 { return s.Told }, "result", "ok")
	c.add("import_checkpoints_total", "Times that remote storage was told how far an import is.", counter, func(s *stats) int64 { return s.Untold }, "result", "failed")
	return c
}

func (c *importCollector) add(name, help string, kind prometheus.ValueType, value func(*tenant.ImportStats) int64, labels ...string) {
	l := prometheus.Labels{"store": c.engine.Info().ID}
	for i := 0; i < len(labels); i += 2 {
		l[labels[i]] = labels[i+1]
	}
	c.metrics = append(c.metrics, importMetric{prometheus.NewDesc("strata_"+name, help, nil, l), kind, value})
}

// Describe implements prometheus.Collector.
func (c *importCollector) Describe(out chan<- *prometheus.Desc) {
	for i := range c.metrics {
		out <- c.metrics[i].desc
	}
}

// Collect implements prometheus.Collector.
func (c *importCollector) Collect(out chan<- prometheus.Metric) {
	s := c.engine.store.Imports()
	for i := range c.metrics {
		x := &c.metrics[i]
		out <- prometheus.MustNewConstMetric(x.desc, x.kind, float64(x.value(&s)))
	}
}
