package strata

import (
	"context"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/layer"
)

type (
	// Residence is where a layer is: on the local disk, in remote storage, or both.
	Residence = timeline.Residence
	// Evicted is what Timeline.EvictLayers did.
	Evicted = timeline.Evicted
)

// Residence says of each of the timeline's own layers where it is.
func (tl *Timeline) Residence() ([]Residence, error) { return tl.t.Residence() }

// DownloadLayer fetches a layer that is in remote storage only, and reports whether it had to.
func (tl *Timeline) DownloadLayer(ctx context.Context, d layer.Desc) (fetched bool, err error) {
	return tl.t.DownloadLayer(ctx, d)
}

// EvictLayers removes the files of some layers from the local disk, but not of those that remote storage has not got for good. It waits
// for reads and snapshots that hold them; if ctx ends before these do, all of them stay. They are fetched again when they are read.
func (tl *Timeline) EvictLayers(ctx context.Context, ds ...layer.Desc) (Evicted, error) {
	return tl.t.Evict(ctx, ds...)
}
