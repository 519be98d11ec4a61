package statuspage

import (
	"context"

	strata "github.com/stratapg/strata"
)

// tenantRow is a tenant, or a shard of one, with its timelines.
type tenantRow struct {
	Status    strata.TenantStatus
	Timelines []timelineRow
}

// timelineRow is a timeline. What is below counts for those alone that can be read.
type timelineRow struct {
	Status             strata.TimelineStatus
	Deltas, Images, L0 int
	Upload             strata.UploadStatus
	UploadError        string
}

// tenants lists all that is here. What goes meanwhile is left out.
func (p *Page) tenants(ctx context.Context) (rows []tenantRow) {
	for _, s := range p.engine.TenantStatuses() {
		row := tenantRow{Status: s}
		t, err := p.engine.Shard(ctx, s.ID)
		if err == nil {
			for _, st := range t.Statuses() {
				r := timelineRow{Status: st}
				if tl, err := t.Timeline(ctx, st.ID.String()); err == nil && st.Info != nil {
					r.fill(tl)
				}
				row.Timelines = append(row.Timelines, r)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// fill counts layers and what is owed to remote storage.
func (r *timelineRow) fill(tl *strata.Timeline) {
	for _, d := range tl.Layers() {
		switch {
		case d.Image:
			r.Images++
		case d.IsL0():
			r.L0++
			r.Deltas++
		default:
			r.Deltas++
		}
	}
	r.Upload = tl.UploadStatus()
	if r.Upload.Err != nil {
		r.UploadError = r.Upload.Err.Error()
	}
}
