package timeline

import (
	"context"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// VerifyLayer reads one of the timeline's own layer files from end to end; see layer.Verify. One that is in
// remote storage only is fetched first.
func (t *Timeline) VerifyLayer(ctx context.Context, d layer.Desc, fn func(k page.Key, lsn page.LSN, willInit bool, s layer.Stored) error) (layer.Verified, error) {
	if err := t.files.ensure(ctx, &d); err != nil {
		return layer.Verified{}, err
	}
	v, err := layer.Verify(ctx, t.env.Disk, t.dir, t.id, d, fn)
	return v, layerError(err)
}
