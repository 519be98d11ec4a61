// Package consumption says what a timeline has used, in the numbers that Neon bills by: names, types and rules are its. A
// number that is not known is left out rather than guessed. Everything here is a pure function.
package consumption

import (
	"time"

	"github.com/stratapg/strata/page"
)

// Names of the metrics of a timeline, in the order in which they are given.
const (
	WrittenDelta       = "written_data_bytes_delta"
	Written            = "written_size"
	WrittenSinceParent = "written_size_since_parent"
	PITRSinceParent    = "pitr_history_size_since_parent"
	LogicalSize        = "timeline_logical_size"
)

// Metric is one number.
type Metric struct {
	Name  string `json:"metric"`
	Value uint64 `json:"value"`
	// Start is when the time begins that an incremental number is of, zero for one that is absolute. Stop is the end of it, or
	// when the number was taken.
	Start time.Time `json:"start_time,omitzero"`
	Stop  time.Time `json:"time"`
}

// State is a timeline at one moment.
type State struct {
	Now time.Time
	// LastRecord is the timeline's end. It may be below what was told before, as after a crash.
	LastRecord page.LSN
	// Ancestor is where a branch begins, 0 for no branch.
	Ancestor page.LSN
	// Opened is where the timeline ended when it was opened, at OpenedAt.
	Opened   page.LSN
	OpenedAt time.Time
	// PITR says that history is kept for a time, and Cutoff from where on, if that is known.
	PITR        bool
	Cutoff      page.LSN
	CutoffKnown bool
	// Logical is the size of all relations, if it is known.
	Logical      uint64
	LogicalKnown bool
}

// Told is what was told last, kept by whoever tells it. The zero value is for a timeline that was never told of.
type Told struct {
	Written      page.LSN  `json:"written_size"`
	At           time.Time `json:"at,omitzero"` // the end of the last increment
	Logical      uint64    `json:"timeline_logical_size"`
	LogicalKnown bool      `json:"timeline_logical_size_known"`
}

// Metrics gives the numbers to tell now, and what to remember of them. Sizes that only grow never go back.
func Metrics(s State, before Told) ([]Metric, Told) {
	told := before
	from, since := before.Written, before.At
	if before.At.IsZero() {
		from, since = s.Opened, s.OpenedAt
	}
	told.Written, told.At = max(s.LastRecord, before.Written), s.Now
	out := []Metric{
		{Name: WrittenDelta, Value: above(s.LastRecord, from), Start: since, Stop: s.Now},
		{Name: Written, Value: uint64(told.Written), Stop: s.Now},
		{Name: WrittenSinceParent, Value: above(told.Written, s.Ancestor), Stop: s.Now},
	}
	switch {
	case !s.PITR:
		out = append(out, Metric{Name: PITRSinceParent, Stop: s.Now})
	case s.CutoffKnown:
		out = append(out, Metric{Name: PITRSinceParent, Value: above(told.Written, max(s.Cutoff, s.Ancestor)), Stop: s.Now})
	}
	if s.LogicalKnown {
		told.Logical, told.LogicalKnown = s.Logical, true
	}
	if told.LogicalKnown {
		out = append(out, Metric{Name: LogicalSize, Value: told.Logical, Stop: s.Now})
	}
	return out, told
}

// above is by how much a lies above b, 0 if it does not.
func above(a, b page.LSN) uint64 { return uint64(max(a, b) - b) }
