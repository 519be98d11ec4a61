package strata

import "github.com/prometheus/client_golang/prometheus"

// BackupCacheMetrics gives the counters of the cache of base backups; zeros if none is kept.
func (e *Engine) BackupCacheMetrics() (m BackupCacheMetrics) {
	if e.backups != nil {
		m = e.backups.Metrics()
		m.Bypassed += e.backups.skipped.Load()
	}
	return m
}

// backupCollector gives a snapshot of BackupCacheMetrics at each scrape.
type backupCollector struct {
	engine  *Engine
	metrics []backupMetric
}

type backupMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*BackupCacheMetrics) int64
}

func newBackupCollector(e *Engine) *backupCollector {
	c := &backupCollector{engine: e}
	add := func(name, help string, kind prometheus.ValueType, value func(*BackupCacheMetrics) int64, labels ...string) {
		l := prometheus.Labels{"store": e.Info().ID}
		for i := 0; i < len(labels); i += 2 {
			l[labels[i]] = labels[i+1]
		}
		c.metrics = append(c.metrics, backupMetric{prometheus.NewDesc("strata_basebackup_cache_"+name, help, nil, l), kind, value})
	}
	const requests, help = "requests_total", "Base backups asked of the cache: there, made by another one who was waited for, or neither."
	add(requests, help, counter, func(m *BackupCacheMetrics) int64 { return m.Hits }, "result", "hit")
	add(requests, help, counter, func(m *BackupCacheMetrics) int64 { return m.Shared }, "result", "shared")
	add(requests, help, counter, func(m *BackupCacheMetrics) int64 { return m.Misses }, "result", "miss")
	add("bypassed_total", "Base backups that were not put into the cache for want of turns, or of room, or after a failed write.", counter, func(m *BackupCacheMetrics) int64 { return m.Bypassed })
	add("evictions_total", "Base backups that gave way to others.", counter, func(m *BackupCacheMetrics) int64 { return m.Evictions })
	add("damaged_total", "Files that were not what had been written, or gone.", counter, func(m *BackupCacheMetrics) int64 { return m.Damaged })
	add("preparations_total", "Base backups made for the cache.", counter, func(m *BackupCacheMetrics) int64 { return m.Preparations })
	add("preparation_failures_total", "Those of them that failed.", counter, func(m *BackupCacheMetrics) int64 { return m.Failures })
	add("prepared_bytes_total", "Bytes written of them.", counter, func(m *BackupCacheMetrics) int64 { return m.PreparedBytes })
	add("verified_bytes_total", "Bytes read to verify them.", counter, func(m *BackupCacheMetrics) int64 { return m.Verified })
	add("remove_errors_total", "Attempts to delete a file that failed.", counter, func(m *BackupCacheMetrics) int64 { return m.RemoveFailures })
	add("entries", "Base backups there.", gauge, func(m *BackupCacheMetrics) int64 { return m.Entries })
	add("entries_limit", "Base backups that may be there.", gauge, func(m *BackupCacheMetrics) int64 { return m.EntriesLimit })
	add("bytes", "Their size, with what is being written.", gauge, func(m *BackupCacheMetrics) int64 { return m.Bytes })
	add("bytes_limit", "Its limit.", gauge, func(m *BackupCacheMetrics) int64 { return m.BytesLimit })
	add("preparations_running", "Base backups being made for the cache.", gauge, func(m *BackupCacheMetrics) int64 { return m.Running })
	add("preparations_limit", "How many may be made at a time.", gauge, func(m *BackupCacheMetrics) int64 { return m.PreparationsLimit })
	return c
}

// Describe implements prometheus.Collector.
func (c *backupCollector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		out <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *backupCollector) Collect(out chan<- prometheus.Metric) {
	m := c.engine.BackupCacheMetrics()
	for _, x := range c.metrics {
		out <- prometheus.MustNewConstMetric(x.desc, x.kind, float64(x.value(&m)))
	}
}
