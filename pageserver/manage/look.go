package manage

import (
	"encoding/hex"
	"time"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
)

// keyRange is a half-open range of keys, as a pair.
type keyRange [2]string

// keyspace is Neon's Partitioning.
type keyspace struct {
	Keys   []keyRange `json:"keys"`
	Sparse []keyRange `json:"sparse_keys"`
	At     page.LSN   `json:"at_lsn"`
}

func (c *call) keyspace(*none) (out keyspace, err error) {
	t, err := c.tenant()
	if err != nil {
		return out, err
	}
	tl, err := c.timeline()
	if err != nil {
		return out, err
	}
	if out.At, err = c.lsn("at_lsn", tl.LastRecordLSN()); err != nil {
		return out, err
	}
	ranges, err := tl.Cluster(out.At).DenseKeys(c.Context(), t.Shard().Keeps)
	if err != nil {
		return out, err
	}
	list := func(s page.Set) []keyRange {
		l := []keyRange{}
		for _, r := range s.Ranges() {
			l = append(l, keyRange{r.Start.String(), r.End.String()})
		}
		return l
	}
	out.Keys = list(t.Shard().Restrict(page.NewSet(ranges...)))
	out.Sparse = list(page.NewSet(page.AuxRange))
	return out, nil
}

// pageReply is a value and how it was read.
type pageReply struct {
	Value   string   `json:"value"` // hexadecimal
	LSN     page.LSN `json:"lsn"`
	Layers  int      `json:"layers_visited"`
	Rounds  int      `json:"rounds"`
	Reads   int      `json:"reads"`
	Bytes   int64    `json:"bytes"`
	Visited []string `json:"visited"`
}

func (c *call) getPage(*none) (out pageReply, err error) {
	tl, err := c.timeline()
	if err != nil {
		return out, err
	}
	key, err := page.ParseKey(c.URL.Query().Get("key"))
	if err != nil {
		return out, badRequest("parameter key: %w", err)
	}
	if out.LSN, err = c.lsn("lsn", tl.LastRecordLSN()); err != nil {
		return out, err
	}
	var trace strata.ReadTrace
	value, err := tl.Get(strata.WithReadTrace(c.Context(), &trace), key, out.LSN)
	if err != nil {
		return out, err
	}
	out.Value, out.Layers = hex.EncodeToString(value), len(trace.Visited)+trace.More
	out.Rounds, out.Reads, out.Bytes, out.Visited = trace.Rounds, trace.Reads, trace.Bytes, []string{}
	for _, v := range trace.Visited {
		out.Visited = append(out.Visited, v.Layer)
	}
	return out, nil
}

// leaseRequest and leaseReply are Neon's LsnLeaseRequest and LsnLease.
type (
	leaseRequest struct {
		LSN page.LSN `json:"lsn"`
	}
	leaseReply struct {
		Until string `json:"valid_until"`
	}
)

// How long leases hold, as in Neon.
const (
	leaseLength = 10 * time.Minute
	leaseOfTime = time.Minute
)

func rfc3339(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (c *call) lease(r *leaseRequest) (out leaseReply, err error) {
	tl, err := c.timeline()
	if err != nil {
		return out, err
	}
	l, err := tl.Lease(c.Context(), r.LSN, leaseLength)
	out.Until = rfc3339(l.Until)
	return out, err
}

// timeReply is where a time lies.
type timeReply struct {
	LSN   page.LSN `json:"lsn"`
	Kind  string   `json:"kind"`
	Until string   `json:"valid_until,omitempty"`
}

// kinds are Neon's names.
var kinds = map[strata.TimeKind]string{strata.TimePresent: "present", strata.TimeFuture: "future", strata.TimePast: "past", strata.TimeUnknown: "nodata"}

func (c *call) lsnOfTime(*none) (out timeReply, err error) {
	at, err := time.Parse(time.RFC3339Nano, c.URL.Query().Get("timestamp"))
	if err != nil {
		return out, badRequest("parameter timestamp: 2006-01-02T15:04:05Z is the form: %w", err)
	}
	lease, err := c.flag("with_lease", false)
	if err != nil {
		return out, err
	}
	tl, err := c.timeline()
	if err != nil {
		return out, err
	}
	if !tl.Shard().First() {
		return out, badRequest("times are known to the first shard alone")
	}
	found, err := tl.LSNOfTime(c.Context(), at)
	if err != nil {
		return out, err
	}
	out.LSN, out.Kind = found.LSN, kinds[found.Kind]
	if lease {
		if l, err := tl.Lease(c.Context(), found.LSN, leaseOfTime); err == nil {
			out.Until = rfc3339(l.Until)
		}
	}
	return out, nil
}
