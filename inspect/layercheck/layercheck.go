// Package layercheck reads the layer files of a store from end to end: every index entry, every value. What
// does not decode is corrupt. A file without checksums of its own is counted as unverified: its structure
// holds, but a flipped bit inside a page would not show.
package layercheck

import (
	"context"
	"fmt"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// Report is the outcome.
type Report struct {
	Files      int
	Bytes      int64 // of the files, as the manifest says
	Entries    int64 // values decoded
	Unverified int   // files without checksums
	Corrupt    int   // files with something wrong
	// Corruptions says what is wrong, one error for each corrupt file.
	Corruptions []error
}

// Run checks every layer of every timeline of a tenant. The error says that the check could not be made;
// corrupt files are in the report.
func Run(ctx context.Context, tenant *strata.Tenant) (Report, error) {
	var r Report
	for _, i := range tenant.Timelines() {
		tl, err := tenant.Timeline(ctx, i.ID.String())
		if err != nil {
			return r, err
		}
		if err := r.timeline(ctx, tl); err != nil {
			return r, fmt.Errorf("timeline %s: %w", i.Name, err)
		}
	}
	return r, nil
}

func (r *Report) timeline(ctx context.Context, tl *strata.Timeline) error {
	return tl.WalkLayers(ctx, func(l *layer.Reader, err error) error {
		r.Files++
		r.Unverified++
		if err == nil {
			r.Bytes += l.Desc().Size
			err = r.file(ctx, l)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.Corrupt++
			r.Corruptions = append(r.Corruptions, err)
		}
		return nil
	})
}

// file decodes every entry and checks it against what the file's name promises.
func (r *Report) file(ctx context.Context, l *layer.Reader) error {
	d := l.Desc()
	return l.Iterate(ctx, func(k page.Key, lsn page.LSN, willInit bool, value []byte) error {
		r.Entries++
		if !d.Keys.Contains(k) || !d.LSNs.Contains(lsn) {
			return fmt.Errorf("%s: %w: entry %s at %s lies outside", d.FileName(), layer.ErrCorrupt, k, lsn)
		}
		if d.Image {
			return nil
		}
		v, err := page.DecodeValue(value)
		if err == nil && v.Initializes() != willInit {
			err = fmt.Errorf("index says will_init=%t, the value says otherwise", willInit)
		}
		if err != nil {
			return fmt.Errorf("%s: %w: %s at %s: %w", d.FileName(), layer.ErrCorrupt, k.Describe(), lsn, err)
		}
		return nil
	})
}
