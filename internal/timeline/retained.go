package timeline

import (
	"context"

	"github.com/stratapg/strata/page"
)

// RetainedFrom gives the LSN from which on every state of the timeline's own history is to be kept, as the store's options
// for garbage collection have it, and the states below that somebody holds. What was collected already is not in it.
func (t *Timeline) RetainedFrom(ctx context.Context) (cutoff page.LSN, held []page.LSN, err error) {
	cutoff, _, err = t.newCutoff(ctx, GCRequest{Horizon: t.env.GC.Horizon, PITR: t.env.GC.PITR})
	return cutoff, t.heldLSNs(), err
}
