package timeline

import (
	"context"
	"fmt"
	"time"

	"github.com/stratapg/strata/layer"
)

// Residence is where a layer is.
type Residence struct {
	Desc layer.Desc
	// Here says that its file is on the local disk, Remote that remote storage has it for good.
	Here, Remote bool
	// Used is when it was last read, to the precision of NoteUse, or the timeline was opened.
	Used time.Time
	// Covered says that newer images hide it from reads at the ends of the timeline and of its branches.
	Covered bool
}

// Residence says of each of the timeline's own layers where it is.
func (t *Timeline) Residence() ([]Residence, error) {
	v, err := t.pinView()
	if err != nil {
		return nil, err
	}
	defer v.release()
	var out []Residence
	covered := t.hidden(v)
	for d := range v.layers.All() {
		_, remote := t.files.remote(d)
		_, lacks := t.files.lacks(&d)
		out = append(out, Residence{d, !lacks, remote, t.files.used(&d), covered[d.FileName()]})
	}
	return out, nil
}

// DownloadLayer fetches one layer, and reports whether its file was not here before.
func (t *Timeline) DownloadLayer(ctx context.Context, d layer.Desc) (fetched bool, err error) {
	v, err := t.pinView()
	if err != nil {
		return false, err
	}
	defer v.release()
	own, ok := v.layers.Find(d)
	if !ok {
		return false, fmt.Errorf("timeline %s has no layer %s", t.meta.Name, d.Name())
	}
	file, lacks := t.files.lacks(&own)
	if !lacks {
		return false, nil
	}
	if err := t.files.fetch(ctx, file); err != nil {
		return false, fmt.Errorf("timeline %s: %w", t.meta.Name, err)
	}
	return true, nil
}
