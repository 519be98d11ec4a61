package answer

import (
	"context"
	"errors"
	"fmt"
	"time"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
)

// ErrRequest marks what a client should not have asked.
var ErrRequest = errors.New("bad request")

// Source is a timeline that requests are answered from.
type Source struct {
	*strata.Timeline
	// Limit is how long a request may wait for WAL.
	Limit time.Duration
	// Waiting is called when one begins to.
	Waiting func()
}

// At gives the state that a request means, once the timeline has come so far.
func (s *Source) At(ctx context.Context, wanted, notModifiedSince page.LSN) (*datadir.Snapshot, error) {
	switch {
	case wanted == 0:
		return nil, fmt.Errorf("%w: the LSN wanted is 0", ErrRequest)
	case wanted < notModifiedSince:
		return nil, fmt.Errorf("%w: the LSN wanted, %s, lies before %s, since which nothing is to have changed", ErrRequest, wanted, notModifiedSince)
	}
	last := s.LastRecordLSN()
	if notModifiedSince <= last {
		return s.Cluster(min(last, wanted)), nil
	}
	if err := s.Wait(ctx, notModifiedSince); err != nil {
		return nil, err
	}
	return s.Cluster(notModifiedSince), nil
}

// Wait waits until the timeline has reached an LSN.
func (s *Source) Wait(ctx context.Context, lsn page.LSN) error {
	if s.LastRecordLSN() >= lsn {
		return nil
	}
	s.Waiting()
	limited, cancel := context.WithTimeout(ctx, s.Limit)
	defer cancel()
	err := s.WaitLSN(limited, lsn)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return fmt.Errorf("after %s the timeline has come to %s, not to %s: is its WAL being ingested?", s.Limit, s.LastRecordLSN(), lsn)
	}
	return err
}
