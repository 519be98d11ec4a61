package timeline

import (
	"context"
	"time"

	"github.com/stratapg/strata/internal/consumption"
	"github.com/stratapg/strata/page"
)

// opened is where a timeline ended when it was opened, and when that was.
type opened struct {
	lsn page.LSN
	at  time.Time
}

// Consumption gives what the timeline has used, with what is known of it without reading relations.
func (t *Timeline) Consumption(ctx context.Context) (consumption.State, error) {
	s := consumption.State{
		Now: t.env.Clock(), LastRecord: t.LastRecordLSN(), Ancestor: t.from().lsn,
		Opened: t.opened.lsn, OpenedAt: t.opened.at, PITR: t.env.GC.PITR > 0,
	}
	if size, ok := t.KnownLogicalSize(); ok {
		s.Logical, s.LogicalKnown = uint64(size.Bytes), true
	}
	if !s.PITR {
		return s, nil
	}
	found, err := t.LSNOfTime(ctx, s.Now.Add(-t.env.GC.PITR))
	if err != nil {
		return s, err
	}
	s.Cutoff, s.CutoffKnown = found.LSN, found.Kind != TimeUnknown
	return s, nil
}
