package strata

import (
	"context"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
)

// LogicalSize is the size of all relations of a cluster, all forks, as of an LSN: what a data directory of it would have in
// relations.
type LogicalSize = timeline.LogicalSize

// LogicalSize gives the size at the end of the timeline. The first call reads the sizes of all relations, from then on ingest
// keeps it.
func (tl *Timeline) LogicalSize(ctx context.Context) (LogicalSize, error) {
	return tl.t.LogicalSize(ctx)
}

// KnownLogicalSize is LogicalSize if nothing has to be read for it.
func (tl *Timeline) KnownLogicalSize() (size LogicalSize, ok bool) { return tl.t.KnownLogicalSize() }

// LogicalSizeAt adds up the sizes of all relations as of an LSN, which must be one that ResolveLSN gives.
func (tl *Timeline) LogicalSizeAt(ctx context.Context, lsn page.LSN) (LogicalSize, error) {
	return tl.t.LogicalSizeAt(ctx, lsn)
}
