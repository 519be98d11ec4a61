package timeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/stratapg/strata/layer"
)

// DownloadProgress is how far Download is.
type DownloadProgress struct {
	// Layers and Bytes are here, of those that were to be fetched.
	Layers, TotalLayers int
	Bytes, TotalBytes   int64
}

// Download fetches all layers of the timeline that are in remote storage only, newest first. progress, if not nil, is told of each
// that has come, one at a time. What fails does not keep the others from coming.
func (t *Timeline) Download(ctx context.Context, progress func(DownloadProgress)) error {
	if t.env.Remote == nil {
		return nil
	}
	v, err := t.pinView()
	if err != nil {
		return err
	}
	defer v.release()
	var lacking []layer.Desc
	var p DownloadProgress
	for d := range v.layers.All() {
		if _, lacks := t.files.lacks(&d); lacks {
			lacking = append(lacking, d)
			p.TotalLayers++
			p.TotalBytes += d.Size
		}
	}
	newestFirst(lacking)
	if err := t.files.fetchAll(ctx, lacking, p, progress); err != nil {
		return fmt.Errorf("timeline %s: %w", t.meta.Name, err)
	}
	return nil
}

// fetchAll fetches layers, several at a time, and counts them from p on.
func (f *layerFiles) fetchAll(ctx context.Context, lacking []layer.Desc, p DownloadProgress, progress func(DownloadProgress)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		d   *layer.Desc
		err error
	}
	results := make(chan result)
	next := make(chan *layer.Desc)
	for range min(len(lacking), f.env.downloads.c.Concurrent) {
		// Each ends with next, which is closed below, and its results are taken.
		go func() {
			for d := range next {
				file := f.find(d)
				if file == nil {
					file = f.add(d)
				}
				results <- result{d, f.fetch(ctx, file)}
			}
		}()
	}
	var errs faultList
	for given, taken := 0, 0; taken < len(lacking); {
		out, d := next, (*layer.Desc)(nil)
		if given < len(lacking) {
			d = &lacking[given]
		} else {
			out = nil
		}
		select {
		case out <- d:
			given++
		case r := <-results:
			taken++
			if r.err != nil {
				errs.add(r.err)
				continue
			}
			p.Layers++
			p.Bytes += r.d.Size
			if progress != nil {
				progress(p)
			}
		}
	}
	close(next)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errs.err()
}

// newestFirst puts layers in the order in which they are most likely to be read.
func newestFirst(ds []layer.Desc) {
	slices.SortFunc(ds, func(a, b layer.Desc) int {
		return cmp.Or(cmp.Compare(b.LSNs.End, a.LSNs.End), a.Keys.Start.Compare(b.Keys.Start))
	})
}
