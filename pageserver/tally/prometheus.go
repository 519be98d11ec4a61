package tally

import "github.com/prometheus/client_golang/prometheus"

var (
	times  = prometheus.NewDesc("strata_pageserver_request_seconds", "Time from a request's arrival to its answer.", []string{"protocol", "smgr_query_type"}, nil)
	failed = prometheus.NewDesc("strata_pageserver_failed_requests_total", "Requests answered by an error.", []string{"protocol", "smgr_query_type"}, nil)
)

// Collector gives the counts of several protocols, by name, to Prometheus.
type Collector map[string]*Counts

// Describe implements prometheus.Collector.
func (c Collector) Describe(out chan<- *prometheus.Desc) {
	out <- times
	out <- failed
}

// Collect implements prometheus.Collector.
func (c Collector) Collect(out chan<- prometheus.Metric) {
	for protocol, counts := range c {
		counts.collect(protocol, out)
	}
}

func (c *Counts) collect(protocol string, out chan<- prometheus.Metric) {
	r := c.Read()
	for k := range Kinds {
		of := &r.Of[k]
		buckets, sum := make(map[float64]uint64, bounds), uint64(0)
		for i, n := range of.Times[:bounds] {
			sum += uint64(n)
			buckets[Bound(i).Seconds()] = sum
		}
		out <- prometheus.MustNewConstHistogram(times, uint64(of.Requests), of.Took.Seconds(), buckets, protocol, k.String())
		out <- prometheus.MustNewConstMetric(failed, prometheus.CounterValue, float64(of.Failed), protocol, k.String())
	}
}
