package timeline

import (
	"context"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/layer"
)

// planSnapshot gives what planners may look at of a pinned view, and the layers in its order. With
// thorough all is due that can be. The caller has the compactor's turn and has pinned v.
func (t *Timeline) planSnapshot(ctx context.Context, v *view, thorough bool) (*compaction.Snapshot, []layer.Desc, error) {
	s, descs := t.layersSnapshot(v)
	lsn := min(compaction.Boundary(s), s.DiskConsistentLSN)
	live, err := t.liveAt(ctx, max(lsn, s.Cutoff), thorough)
	if err != nil {
		return nil, nil, err
	}
	s.Live, s.LiveLSN, s.ImageCheck = live.keys, live.lsn, t.imageCheck()
	if thorough {
		lowThresholds(s)
	}
	return s, descs, nil
}

// layersSnapshot is planSnapshot without the keys that exist, and without the last look for images. The caller has the
// compactor's turn or the flusher's.
func (t *Timeline) layersSnapshot(v *view) (*compaction.Snapshot, []layer.Desc) {
	descs := v.layers.Layers()
	// What lies in memory is above, and may become durable meanwhile: then its layer is not in v.
	s := &compaction.Snapshot{
		Layers: make([]compaction.Layer, len(descs)), Doomed: t.compact.doomed(), Generation: t.generation,
		LastRecordLSN: t.LastRecordLSN(), DiskConsistentLSN: v.start - 1,
		InitialLSN: v.from.initial, AncestorLSN: v.from.lsn,
		UnflushedBytes: v.unflushed(), Options: t.compactOptions(),
	}
	if len(v.frozen) > 0 {
		s.DiskConsistentLSN = v.frozen[0].lsns.Start - 1
	}
	s.Cutoff = t.planFrom()
	s.Retain = t.readPoints() // after the cutoff: what is held from now on lies above it
	for i := range descs {
		l := &s.Layers[i]
		l.ID, l.Size = idOf(&descs[i]), descs[i].Size
		l.Moved = t.compact.moved[l.ID].Ranges()
		l.Chains = t.compact.chains.get(l.ID)
	}
	return s, descs
}
