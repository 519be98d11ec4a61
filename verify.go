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

// VerifyRelDirs compares the two directories of relations that a timeline of page.RelDirBoth has, as of an LSN that ResolveLSN
// gives, and calls fn for each relation that only one of them has, in order: inValue says that it is the database's value, which
// reads believe, and else the relation's own key. It calls nothing where there is one directory. Memory is that of the largest
// database's list; an error that fn returns ends it.
func (tl *Timeline) VerifyRelDirs(ctx context.Context, lsn page.LSN, fn func(rel page.RelTag, inValue bool) error) error {
	return tl.Cluster(lsn).Differing(ctx, fn)
}
