package pageserver

import (
	"context"
	"errors"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/answer"
)

// finder finds timelines to answer from, within the server's limits.
func (c *conn) finder() *answer.Finder {
	return &answer.Finder{Engine: c.s.c.Engine, Limit: c.s.c.WaitLSN, Waiting: func() { c.s.metrics.waits.Add(1) }}
}

// wait waits until the timeline has reached an LSN.
func (c *conn) wait(ctx context.Context, tl *answer.Shards, lsn page.LSN) error {
	return tl.Wait(ctx, lsn)
}

// fatal gives the code of an error after which a stream makes no sense: what it reads from has been closed, because the server
// shuts down or the tenant was detached or split, or the page's shard is elsewhere. The client has to ask anew, and find out
// whom. It is empty for all other errors.
func fatal(err error) string {
	switch {
	case errors.Is(err, answer.ErrElsewhere):
		return codeReconnect
	case errors.Is(err, strata.ErrClosed):
		return codeShutdown
	}
	return ""
}
