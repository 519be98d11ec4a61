package strata

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metric is one number of Metrics as Prometheus sees it.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*Metrics) int64
}

// collector gives a snapshot of Metrics at each scrape.
type collector struct {
	engine  *Engine
	metrics []metric
}

func newCollector(e *Engine) *collector {
	c := &collector{engine: e}
	add := func(name, help string, kind prometheus.ValueType, value func(*Metrics) int64) {
		labels := prometheus.Labels{"store": e.Info().ID}
		c.metrics = append(c.metrics, metric{prometheus.NewDesc("strata_"+name, help, nil, labels), kind, value})
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	add("put_batches_total", "Batches put.", counter, func(m *Metrics) int64 { return m.PutBatches })
	add("put_values_total", "Values put.", counter, func(m *Metrics) int64 { return m.PutValues })
	add("put_bytes_total", "Serialized size of the values put.", counter, func(m *Metrics) int64 { return m.PutBytes })
	add("put_waits_total", "Puts that waited for a flush or a compaction.", counter, func(m *Metrics) int64 { return m.PutWaits })
	add("put_pauses_total", "Puts that were slowed down by debt.", counter, func(m *Metrics) int64 { return m.PutPauses })
	add("put_wait_nanoseconds_total", "Time that puts waited or were slowed down.", counter, func(m *Metrics) int64 { return m.PutWaitNanos })
	add("flushes_total", "Layers written from memory.", counter, func(m *Metrics) int64 { return m.Flushes })
	add("flush_bytes_total", "Size of the layers written from memory.", counter, func(m *Metrics) int64 { return m.FlushBytes })
	add("flush_errors_total", "Attempts to write a layer that failed.", counter, func(m *Metrics) int64 { return m.FlushErrors })
	add("manifest_edits_total", "Edits published in manifests.", counter, func(m *Metrics) int64 { return m.ManifestEdits })
	add("manifest_bytes_total", "Bytes written to manifests.", counter, func(m *Metrics) int64 { return m.ManifestBytes })
	add("manifest_rewrites_total", "Manifests written anew.", counter, func(m *Metrics) int64 { return m.ManifestRewrites })
	add("reads_total", "Reads of one or many keys.", counter, func(m *Metrics) int64 { return m.Reads })
	add("read_keys_total", "Values given by reads.", counter, func(m *Metrics) int64 { return m.ReadKeys })
	add("layer_visits_total", "Layers asked by reads, in memory or on disk.", counter, func(m *Metrics) int64 { return m.LayerVisits })
	add("redos_total", "Pages rebuilt from records.", counter, func(m *Metrics) int64 { return m.Redos })
	add("redo_records_total", "Records applied to rebuild pages.", counter, func(m *Metrics) int64 { return m.RedoRecords })
	add("redo_errors_total", "Pages that could not be rebuilt.", counter, func(m *Metrics) int64 { return m.RedoErrors })
	add("file_opens_total", "Layer files opened.", counter, func(m *Metrics) int64 { return m.FileOpens })
	add("open_files", "Layer files open.", gauge, func(m *Metrics) int64 { return m.OpenFiles })
	add("memory_bytes", "Size of the layers in memory.", gauge, func(m *Metrics) int64 { return m.MemoryBytes })
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for i := range c.metrics {
		out <- c.metrics[i].desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	m := c.engine.Metrics()
	for i := range c.metrics {
		x := &c.metrics[i]
		out <- prometheus.MustNewConstMetric(x.desc, x.kind, float64(x.value(&m)))
	}
}

// register hands the metrics to Options.Registerer, and has Close take them back.
func (e *Engine) register() error {
	r := e.options.Registerer
	if r == nil {
		return nil
	}
	c := newCollector(e)
	if err := r.Register(c); err != nil {
		var taken prometheus.AlreadyRegisteredError
		if errors.As(err, &taken) {
			return fmt.Errorf("strata.Options.Registerer has the metrics of this store already: %w", err)
		}
		return fmt.Errorf("strata.Options.Registerer: %w", err)
	}
	e.closers = append([]func() error{func() error { r.Unregister(c); return nil }}, e.closers...)
	return nil
}
