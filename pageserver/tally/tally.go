// Package tally counts what computes ask for, and how long it took, for metrics and for the status page. What counts is free
// of locks, since every page passes here.
package tally

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Kind is what is asked for.
type Kind uint8

// The kinds.
const (
	Exists Kind = iota
	RelationSize
	Page
	DatabaseSize
	SLRUSegment
	Lease
	BaseBackup
	Kinds // how many there are
)

// String gives the name that Neon's metrics use.
func (k Kind) String() string {
	return [...]string{"get_rel_exists", "get_rel_size", "get_page_at_lsn", "get_db_size", "get_slru_segment", "lease_lsn", "get_base_backup", "unknown"}[min(k, Kinds)]
}

// Bounds of the buckets of times: from 16 µs on by the root of two, as near as whole nanoseconds come, up to 17 minutes.
const (
	firstBound = 1 << 14
	bounds     = 53
)

// Bound is the longest time of bucket i; the last bucket has none.
func Bound(i int) time.Duration {
	d := time.Duration(firstBound) << (i / 2)
	if i%2 == 1 {
		d += d * 41421 / 100000
	}
	return d
}

// bucketOf finds the bucket of a time.
func bucketOf(d time.Duration) int {
	if d <= firstBound {
		return 0
	}
	i := min(2*(bits.Len64(uint64(d-1))-bits.Len64(firstBound)), bounds)
	for i < bounds && d > Bound(i) {
		i++
	}
	return i
}

// Counts are those of one server. The zero value is ready.
type Counts struct{ of [Kinds]counts }

type counts struct {
	failed, nanos atomic.Int64
	times         [bounds + 1]atomic.Int64
}

// Answered counts n requests that took so long, each.
func (c *Counts) Answered(k Kind, took time.Duration, n int) {
	s := &c.of[k]
	s.nanos.Add(int64(took) * int64(n))
	s.times[bucketOf(took)].Add(int64(n))
}

// Failed counts a request, among those that were answered, whose answer is an error.
func (c *Counts) Failed(k Kind) { c.of[k].failed.Add(1) }

// Reading is what was counted by a moment.
type Reading struct{ Of [Kinds]KindReading }

// KindReading is what was counted of one kind. Times counts by bucket.
type KindReading struct {
	Requests, Failed int64
	Took             time.Duration // together
	Times            [bounds + 1]int64
}

// Read gives what was counted so far.
func (c *Counts) Read() (r Reading) {
	for k := range r.Of {
		from, to := &c.of[k], &r.Of[k]
		to.Failed, to.Took = from.failed.Load(), time.Duration(from.nanos.Load())
		for i := range to.Times {
			to.Times[i] = from.times[i].Load()
			to.Requests += to.Times[i]
		}
	}
	return r
}

// Since gives what was counted after an earlier reading.
func (r KindReading) Since(before KindReading) KindReading {
	r.Requests -= before.Requests
	r.Failed -= before.Failed
	r.Took -= before.Took
	for i := range r.Times {
		r.Times[i] -= before.Times[i]
	}
	return r
}

// Quantile gives a time that at least the part q of the requests did not exceed, by the bounds of buckets; 0 if there are none.
func (r KindReading) Quantile(q float64) time.Duration {
	want := int64(q * float64(r.Requests))
	for i, n := range r.Times {
		if want -= n; want < 0 || want == 0 && n > 0 {
			return Bound(min(i, bounds))
		}
	}
	return 0
}
