package manage

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
)

// layerInfo is one of Neon's HistoricLayerInfo.
type layerInfo struct {
	Kind   string    `json:"kind"`
	Name   string    `json:"layer_file_name"`
	Size   int64     `json:"layer_file_size"`
	Start  page.LSN  `json:"lsn_start"`
	End    *page.LSN `json:"lsn_end,omitempty"` // of a delta
	L0     *bool     `json:"l0,omitempty"`      // of a delta
	Remote bool      `json:"remote"`            // only there
	Access access    `json:"access_stats"`
}

// access is Neon's LayerAccessStats, in milliseconds since 1970. When a file came is not kept.
type access struct {
	Accessed int64 `json:"access_time"`
	Resident int64 `json:"residence_time"`
	Visible  bool  `json:"visible"`
}

// memoryLayer is one of Neon's InMemoryLayerInfo.
type memoryLayer struct {
	Kind  string   `json:"kind"`
	Start page.LSN `json:"lsn_start"`
}

// layerMap is Neon's LayerMapInfo.
type layerMap struct {
	Memory   []memoryLayer `json:"in_memory_layers"`
	Historic []layerInfo   `json:"historic_layers"`
}

func (c *call) layers(*none) (layerMap, error) {
	out := layerMap{Memory: []memoryLayer{}, Historic: []layerInfo{}}
	tl, err := c.timeline()
	if err != nil {
		return out, err
	}
	if i := tl.Info(); i.LastRecordLSN > i.DiskConsistentLSN {
		out.Memory = append(out.Memory, memoryLayer{"Open", i.DiskConsistentLSN + 1})
	}
	all, err := tl.Residence()
	if err != nil {
		return out, err
	}
	for _, r := range all {
		d := r.Desc
		l := layerInfo{Kind: "Image", Name: d.Name(), Size: d.Size, Start: d.LSNs.Start, Remote: !r.Here,
			Access: access{Accessed: r.Used.UnixMilli(), Visible: !r.Covered}}
		if !d.Image {
			end, l0 := d.LSNs.End, d.IsL0()
			l.Kind, l.End, l.L0 = "Delta", &end, &l0
		}
		out.Historic = append(out.Historic, l)
	}
	return out, nil
}

// layer finds the layer of the path.
func (c *call) layer() (*strata.Timeline, strata.Residence, error) {
	tl, err := c.timeline()
	if err != nil {
		return nil, strata.Residence{}, err
	}
	all, err := tl.Residence()
	if err != nil {
		return nil, strata.Residence{}, err
	}
	name := c.PathValue("layer")
	i := slices.IndexFunc(all, func(r strata.Residence) bool { return r.Desc.Name() == name || r.Desc.FileName() == name })
	if i < 0 {
		return nil, strata.Residence{}, badRequest("the timeline has no layer %q", name)
	}
	return tl, all[i], nil
}

// unless answers 304 where nothing was done.
func (c *call) unless(done bool) {
	if !done {
		c.code = http.StatusNotModified
	}
}

func (c *call) fetchLayer(*none) (none, error) {
	tl, l, err := c.layer()
	if err != nil {
		return none{}, err
	}
	fetched, err := tl.DownloadLayer(c.Context(), l.Desc)
	c.unless(fetched)
	return none{}, err
}

// evictTime is how long an eviction waits for those who read the layer.
const evictTime = time.Second

func (c *call) evictLayer(*none) (none, error) {
	tl, l, err := c.layer()
	if err != nil {
		return none{}, err
	}
	limited, cancel := context.WithTimeout(c.Context(), evictTime)
	defer cancel()
	done, err := tl.EvictLayers(limited, l.Desc)
	if errors.Is(err, context.DeadlineExceeded) && c.Context().Err() == nil {
		err = nil // somebody reads it
	}
	c.unless(done.Layers > 0)
	return none{}, err
}
