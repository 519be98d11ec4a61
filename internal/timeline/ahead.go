package timeline

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// maxWarmLayers bounds the layers that one step of a read opens and searches at the same time.
const maxWarmLayers = 64

// LookAhead opens all layers that the step may need, of ancestors too, and brings the index blocks into memory that
// it will search: a layer waits for no other, so that a cold read takes as many rounds as an index has levels, one
// more to open files, and one for the values.
func (w *window) LookAhead(ctx context.Context) int {
	var loads atomic.Int64
	var g errgroup.Group
	g.SetLimit(maxWarmLayers)
	open := w.c.Open()
	for i, v := range w.l.views {
		if open.Empty() || i > 0 && !w.inherited {
			break
		}
		open = v.warm(ctx, &g, &loads, open, min(w.c.LSN(), w.l.lsns[i]))
	}
	_ = g.Wait() // who asks the layers meets their errors
	return int(loads.Load())
}

// warm begins to look ahead in the layers of a view, and gives the keys that an ancestor may have to be asked for.
func (v *view) warm(ctx context.Context, g *errgroup.Group, loads *atomic.Int64, keys page.Set, lsn page.LSN) page.Set {
	plan := layer.NewCollector(keys, lsn)
	defer plan.Release()
	for visit := range v.layers.Visits(plan, lsn+1) {
		if !v.askFor(&visit) {
			continue
		}
		if visit.Desc.Image {
			keys = keys.Subtract(visit.Keys)
		}
		if _, lacking := v.t.files.lacks(&visit.Desc); lacking {
			continue // it is on its way
		}
		g.Go(func() error {
			if r, err := v.t.files.reader(ctx, &visit.Desc); err == nil {
				loads.Add(int64(r.Warm(ctx, visit.Keys, visit.LSNs)))
			}
			return nil
		})
	}
	return keys
}
