package index

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/stratapg/strata/page"
)

// HeatmapName is the object's, below its tenant's prefix. It has no generation: who writes it last is heard.
const HeatmapName = "heatmap-v1.json"

// Heatmap says which layers of a tenant are worth having on the disk of one who may take it over: Neon's heatmap-v1.json
// (pageserver/src/tenant/secondary/heatmap.rs).
type Heatmap struct {
	Generation uint32
	Timelines  []HeatTimeline
	// Period is how often it is written, 0 if that is not known.
	Period time.Duration
}

// HeatTimeline is a timeline of a Heatmap.
type HeatTimeline struct {
	ID     page.TimelineID
	Layers []HeatLayer
}

// HeatLayer is a layer that a Heatmap names.
type HeatLayer struct {
	Layer
	// Used is when it was last read, to the second.
	Used time.Time
	// Cold ones are not worth a download.
	Cold bool
}

type heatmapForm struct {
	Generation uint32            `json:"generation"`
	Timelines  []json.RawMessage `json:"timelines"`
	Period     *int64            `json:"upload_period_ms"`
}

type heatTimelineForm struct {
	ID     page.TimelineID `json:"timeline_id"`
	Layers []heatLayerForm `json:"layers"`
}

type heatLayerForm struct {
	Name     string          `json:"name"`
	Metadata json.RawMessage `json:"metadata"`
	Used     int64           `json:"access_time"`
	Cold     bool            `json:"cold"`
}

// ParseHeatmap reads a document. What cannot be is an error that names timeline and layer.
func ParseHeatmap(b []byte) (*Heatmap, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%s of %d bytes: at most %d", HeatmapName, len(b), MaxSize)
	}
	var f heatmapForm
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", HeatmapName, err)
	}
	h := &Heatmap{Generation: f.Generation}
	if f.Period != nil {
		h.Period = time.Duration(*f.Period) * time.Millisecond
	}
	for _, raw := range f.Timelines {
		var t heatTimelineForm
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, fmt.Errorf("%s: %w", HeatmapName, err)
		}
		out := HeatTimeline{ID: t.ID, Layers: make([]HeatLayer, 0, len(t.Layers))}
		for _, x := range t.Layers {
			l, err := parseLayer(x.Name, x.Metadata)
			if err == nil {
				_, err = packed(&l)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: timeline %s: layer %.200s: %w", HeatmapName, t.ID, x.Name, err)
			}
			out.Layers = append(out.Layers, HeatLayer{l, time.Unix(x.Used, 0), x.Cold})
		}
		h.Timelines = append(h.Timelines, out)
	}
	return h, nil
}

// Encode writes the document.
func (h *Heatmap) Encode() ([]byte, error) {
	b := strconv.AppendUint([]byte(`{"generation":`), uint64(h.Generation), 10)
	b = append(b, `,"timelines":[`...)
	for i := range h.Timelines {
		t := &h.Timelines[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"timeline_id":"%s","layers":[`, t.ID)
		for j := range t.Layers {
			l := &t.Layers[j]
			r, err := packed(&l.Layer)
			if err != nil {
				return nil, fmt.Errorf("%s: layer %s: %w", HeatmapName, l.Desc.Name(), err)
			}
			if j > 0 {
				b = append(b, ',')
			}
			b = r.appendName(append(b, `{"name":"`...))
			b = r.appendFields(append(b, `","metadata":`...), l.Rest)
			b = fmt.Appendf(b, `,"access_time":%d,"cold":%t}`, max(0, l.Used.Unix()), l.Cold)
		}
		b = append(b, "]}"...)
	}
	b = append(b, `],"upload_period_ms":`...)
	if h.Period > 0 {
		b = strconv.AppendInt(b, h.Period.Milliseconds(), 10)
	} else {
		b = append(b, "null"...)
	}
	return append(b, '}'), nil
}

// Warm gives how many layers are worth a download, and their size.
func (h *Heatmap) Warm() (layers int, bytes int64) {
	for i := range h.Timelines {
		for j := range h.Timelines[i].Layers {
			if l := &h.Timelines[i].Layers[j]; !l.Cold {
				layers++
				bytes += l.Desc.Size
			}
		}
	}
	return layers, bytes
}

// CompareHeat orders layers as Neon lists them: cold ones first, then others than L0s, then newer ones.
func CompareHeat(a, b *HeatLayer) int {
	return cmp.Or(compareBool(b.Cold, a.Cold), compareBool(!b.Desc.IsL0(), !a.Desc.IsL0()), cmp.Compare(b.Desc.LSNs.End, a.Desc.LSNs.End),
		a.Desc.Keys.Start.Compare(b.Desc.Keys.Start))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
