package tally

import "github.com/prometheus/client_golang/prometheus"

var (
	times  = prometheus.NewDesc("strata_pageserver_request_seconds", "Time from a request's arrival to its answer.", []string{"protocol", "smgr_query_type"}, nil)
	failed = prometheus.NewDesc("strata_pageserver_failed_requests_total", "Requests answered by an error.", []string{"protocol", "smgr_query_type"}, nil)
)

// Describe names the metrics of Collect.
func Describe(out chan<- *prometheus.Desc) {
	out <- times
	out <- failed
}

// Collect gives a protocol's counts to Prometheus.
func (c *Counts) Collect(protocol string, out chan<- prometheus.Metric) {
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
