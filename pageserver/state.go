package pageserver

import (
	"context"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/answer"
)

// source is a timeline to answer from, within the server's limits.
func (c *conn) source(tl *strata.Timeline) answer.Source {
	return answer.Source{Timeline: tl, Limit: c.s.c.WaitLSN, Waiting: func() { c.s.metrics.waits.Add(1) }}
}

// wait waits until the timeline has reached an LSN.
func (c *conn) wait(ctx context.Context, tl *strata.Timeline, lsn page.LSN) error {
	s := c.source(tl)
	return s.Wait(ctx, lsn)
}
