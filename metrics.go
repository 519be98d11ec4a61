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
	c.addTimelines()
	c.addCompaction()
	c.addGC()
	c.addDisk()
	c.addBlocks()
	c.addRelSizes()
	c.addMems()
	c.addMemory()
	c.addRemote()
	return c
}

// add defines a metric; labels are name and value, alternating.
func (c *collector) add(name, help string, kind prometheus.ValueType, value func(*Metrics) int64, labels ...string) {
	l := prometheus.Labels{"store": c.engine.Info().ID}
	for i := 0; i < len(labels); i += 2 {
		l[labels[i]] = labels[i+1]
	}
	c.metrics = append(c.metrics, metric{prometheus.NewDesc("strata_"+name, help, nil, l), kind, value})
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
	all := []prometheus.Collector{newCollector(e), newStateCollector(e), newImportCollector(e)}
	if e.backups != nil {
		all = append(all, newBackupCollector(e))
	}
	if e.remote != nil {
		all = append(all, newRequestCollector(e))
	}
	if e.redo.pool != nil {
		all = append(all, newRedoCollector(e))
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			var taken prometheus.AlreadyRegisteredError
			if errors.As(err, &taken) {
				return fmt.Errorf("strata.Options.Registerer has the metrics of this store already: %w", err)
			}
			return fmt.Errorf("strata.Options.Registerer: %w", err)
		}
		e.closers = append([]func() error{func() error { r.Unregister(c); return nil }}, e.closers...)
	}
	return nil
}
