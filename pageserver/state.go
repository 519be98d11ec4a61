package pageserver

import (
	"context"
	"errors"
	"fmt"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/pagestream"
)

// errRequest marks what a client should not have asked.
var errRequest = errors.New("bad request")

// effective gives the LSN to read a request at, once the timeline has come so far.
func (c *conn) effective(ctx context.Context, tl *strata.Timeline, r *pagestream.Request) (page.LSN, error) {
	switch {
	case r.LSN == 0:
		return 0, fmt.Errorf("%w: the LSN wanted is 0", errRequest)
	case r.LSN < r.NotModifiedSince:
		return 0, fmt.Errorf("%w: the LSN wanted, %s, lies before %s, since which nothing is to have changed", errRequest, r.LSN, r.NotModifiedSince)
	}
	last := tl.LastRecordLSN()
	if r.NotModifiedSince <= last {
		return min(last, r.LSN), nil
	}
	return r.NotModifiedSince, c.wait(ctx, tl, r.NotModifiedSince)
}

// wait waits until the timeline has reached an LSN.
func (c *conn) wait(ctx context.Context, tl *strata.Timeline, lsn page.LSN) error {
	if tl.LastRecordLSN() >= lsn {
		return nil
	}
	c.s.metrics.waits.Add(1)
	limited, cancel := context.WithTimeout(ctx, c.s.c.WaitLSN)
	defer cancel()
	err := tl.WaitLSN(limited, lsn)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return fmt.Errorf("after %s the timeline has come to %s, not to %s: is its WAL being ingested?", c.s.c.WaitLSN, tl.LastRecordLSN(), lsn)
	}
	return err
}
