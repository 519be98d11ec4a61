package strata

import (
	"context"
	"fmt"

	"github.com/stratapg/strata/internal/sizemodel"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
)

// SizeModel says what all timelines of a tenant come to with the history that is to be kept, as the smallest sum of whole copies of
// the cluster and of WAL between them: Neon's synthetic size. It does not depend on how the store keeps them.
type SizeModel struct {
	Bytes uint64 `json:"bytes"`
	// Points are where timelines begin and end, branch, are leased and are cut off, each behind the one it follows.
	Points []SizePoint `json:"points"`

	model  *sizemodel.Model
	result sizemodel.Result
}

// SizePoint is a point in the history of a tenant and how its state is had.
type SizePoint struct {
	Timeline string   `json:"timeline"`
	Kind     string   `json:"kind"`
	Parent   int      `json:"parent"` // its place among the points, -1 for none
	LSN      page.LSN `json:"lsn"`
	// LogicalBytes is the size of the cluster there, 0 where it was not needed.
	LogicalBytes uint64 `json:"logical_bytes"`
	// Needed says that every state from the parent to here is kept.
	Needed bool `json:"needed"`
	// Method is snapshot, wal or skipped; Bytes what this point and all behind it come to.
	Method string `json:"method"`
	Bytes  uint64 `json:"bytes"`
}

// SVG draws the model.
func (m *SizeModel) SVG() []byte { return m.model.SVG(m.result) }

// SizeModel computes the model of the tenant as it is now. It adds up the relations at every branch point, cutoff and lease.
func (t *Tenant) SizeModel(ctx context.Context) (*SizeModel, error) {
	all := t.t.Timelines()
	place := make(map[page.TimelineID]int, len(all))
	for i, tl := range all {
		place[tl.ID()] = i
	}
	in := make([]sizemodel.Timeline, len(all))
	for i, tl := range all {
		cutoff, held, err := tl.RetainedFrom(ctx)
		if err != nil {
			return nil, err
		}
		m := tl.Meta()
		in[i] = sizemodel.Timeline{Name: m.Name, Ancestor: -1, Start: m.InitialLSN, End: max(tl.LastRecordLSN(), m.InitialLSN), Cutoff: cutoff, Leases: held}
		if m.AncestorLSN != 0 {
			a, ok := place[m.Ancestor]
			if !ok {
				return nil, fmt.Errorf("size model: timeline %s: its ancestor %s is not among the timelines", m.Name, m.Ancestor)
			}
			in[i].Ancestor, in[i].Start = a, m.AncestorLSN
		}
	}
	model, err := sizemodel.New(in)
	if err != nil {
		return nil, err
	}
	if err := addSizes(ctx, model, all); err != nil {
		return nil, err
	}
	result, err := model.Compute()
	if err != nil {
		return nil, err
	}
	return describeModel(model, result, in), nil
}

// addSizes adds up the relations wherever a snapshot may be.
func addSizes(ctx context.Context, m *sizemodel.Model, all []*timeline.Timeline) error {
	for i := range m.Points {
		p := &m.Points[i]
		if !p.Wants() {
			continue
		}
		s, err := all[p.Timeline].LogicalSizeAt(ctx, p.LSN)
		if err != nil {
			return err
		}
		p.Segment.Bytes, p.Sized = uint64(s.Bytes), true
	}
	return nil
}

func describeModel(m *sizemodel.Model, r sizemodel.Result, in []sizemodel.Timeline) *SizeModel {
	out := &SizeModel{Bytes: r.Bytes, Points: make([]SizePoint, len(m.Points)), model: m, result: r}
	for i, p := range m.Points {
		out.Points[i] = SizePoint{
			Timeline: in[p.Timeline].Name, Kind: p.Kind.String(), Parent: p.Parent, LSN: p.LSN, LogicalBytes: p.Segment.Bytes,
			Needed: p.Needed, Method: r.Segments[i].Method.String(), Bytes: r.Segments[i].Bytes,
		}
	}
	return out
}
