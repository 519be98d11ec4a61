package timeline

import (
	"context"
	"sync"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// imageReads are pooled, as an Image would otherwise be allocated for each read.
var imageReads = sync.Pool{New: func() any { return new(layer.Image) }}

// readImage reads one key that an image layer of the timeline itself answers alone, and gives it to fn: what
// most reads of a compacted timeline are. done is false if it is not that simple, and nothing was given then.
func (l *lineage) readImage(ctx context.Context, k page.Key, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) (done bool, err error) {
	v := l.views[0]
	if layer.TraceOf(ctx) != nil || v.inMemory(k) {
		return false, nil
	}
	if lsn <= l.descents[0].joint() && page.NotInherited.Contains(k) {
		return false, nil
	}
	hit, ok := v.layers.Search(k, min(lsn, l.lsns[0])+1)
	if !ok {
		return false, nil
	}
	d := hit.Desc()
	if !d.Image {
		return false, nil
	}
	r, err := v.t.files.reader(ctx, &d)
	if err != nil {
		return false, nil // the usual way says why
	}
	m := imageReads.Get().(*layer.Image)
	defer func() {
		m.Release()
		imageReads.Put(m)
	}()
	if !r.ReadImage(ctx, k, m) || len(m.Value) == 0 {
		return false, nil
	}
	counters := &v.t.env.counters
	counters.layerVisits.Add(1)
	counters.readKeys.Add(1)
	if err := fn(k, m.Value, nil); err != nil {
		return true, err
	}
	return true, ctx.Err()
}

// inMemory reports whether a layer in memory has a version of k.
func (v *view) inMemory(k page.Key) bool {
	if v.open.Has(k) {
		return true
	}
	for _, f := range v.frozen {
		if f.mem.Has(k) {
			return true
		}
	}
	return false
}
