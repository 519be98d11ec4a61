package strata

import (
	"context"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// VerifyLayer reads one of the timeline's own layer files (Layers) from end to end and compares all it holds
// with itself, its name and the manifest; see layer.Verify, to which fn goes. The error wraps ErrCorrupt if
// the file does not hold.
func (tl *Timeline) VerifyLayer(ctx context.Context, d layer.Desc, fn func(k page.Key, lsn page.LSN, willInit bool, s layer.Stored) error) (layer.Verified, error) {
	return tl.t.VerifyLayer(ctx, d, fn)
}
