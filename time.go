package strata

import (
	"context"
	"time"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/internal/timeline"
)

type (
	// TimeLSN is where a time lies in a timeline.
	TimeLSN = timeline.TimeLSN
	// TimeKind says how a time lies to the transactions of a timeline.
	TimeKind = timeline.TimeKind
	// TransactionEnd is a WAL record that commits or aborts a transaction.
	TransactionEnd = datadir.TransactionEnd
)

// Kinds of TimeLSN.
const (
	// TimePresent: the LSN is that before the first transaction that ended after the time.
	TimePresent = timeline.TimePresent
	// TimeFuture: none ended later. The LSN is the last.
	TimeFuture = timeline.TimeFuture
	// TimePast: the state at the LSN, the oldest that can be read, has what is later already.
	TimePast = timeline.TimePast
	// TimeUnknown: there is nothing whose time is known.
	TimeUnknown = timeline.TimeUnknown
)

// LSNOfTime gives the last state before the first record, in the order of LSNs, that commits or aborts a transaction at a
// later time, as PostgreSQL's recovery_target_time does. Transactions need not end in the order of their times. A branch
// searches its own history only: TimePast means to ask its ancestor.
func (tl *Timeline) LSNOfTime(ctx context.Context, at time.Time) (TimeLSN, error) {
	return tl.t.LSNOfTime(ctx, at)
}
