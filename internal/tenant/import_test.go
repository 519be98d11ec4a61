package tenant

import (
	"context"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// importAll imports what fill puts, in one job.
func importAll(ctx context.Context, tn *Tenant, m manifest.Meta, prev page.LSN, layerSize int64, c layer.Compression, fill func(ctx context.Context, sink *timeline.ImageSink) error) (*timeline.Timeline, error) {
	tl, _, err := tn.Import(ctx, m.Name, m.Timeline, ImportOptions{LayerSize: layerSize, Compression: c}, func(context.Context, ImportDir) (*ImportPlan, error) {
		return &ImportPlan{
			Meta: m, Prev: prev, Digest: "d", Jobs: []ImportJob{{Keys: page.FullRange, Pages: 1, Bytes: 1}},
			Run: func(ctx context.Context, _ int, sink *timeline.ImageSink, _ func(pages, bytes int64)) (ImportedJob, error) {
				return ImportedJob{}, fill(ctx, sink)
			},
			Check:   func(context.Context) error { return nil },
			Lasting: func(error) bool { return true },
		}, nil
	})
	return tl, err
}
