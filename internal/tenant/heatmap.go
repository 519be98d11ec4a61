package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
)

// HeatmapReport says what a heatmap names.
type HeatmapReport struct {
	Timelines, Layers int
	Bytes             int64
}

// WriteHeatmap tells remote storage which layers of the tenant are worth having on the disk of one who may take it over. Only
// the last writer does: others get timeline.ErrStale. period is how often it will be written, 0 if that is not known.
func (t *Tenant) WriteHeatmap(ctx context.Context, period time.Duration) (r HeatmapReport, err error) {
	env := t.store.env
	if env.Remote == nil || env.ReadOnly {
		return r, fmt.Errorf("heatmap of tenant %s: the store has no remote storage, or is only read", t.id)
	}
	p := t.place(page.TimelineID{})
	generation := env.Generation(t.ShardID())
	if valid, err := env.Validator().Validate(ctx, p, generation); err != nil || !valid {
		if err == nil {
			err = timeline.ErrStale
		}
		return r, fmt.Errorf("heatmap of tenant %s: %w", t.id, err)
	}
	last, err := readHeatmap(ctx, env.Remote, p)
	if errors.Is(err, remote.ErrNotFound) {
		last, err = &heatmapFound{Heatmap: &index.Heatmap{}}, nil
	}
	if err != nil {
		return r, fmt.Errorf("heatmap of tenant %s: %w", t.id, err)
	}
	h := index.Heatmap{Generation: generation, Period: period}
	for _, tl := range t.Timelines() {
		layers, err := tl.Heat(last.of(tl.ID()))
		if errors.Is(err, timeline.ErrClosed) {
			continue
		}
		if err != nil {
			return r, fmt.Errorf("heatmap of tenant %s: %w", t.id, err)
		}
		h.Timelines = append(h.Timelines, index.HeatTimeline{ID: tl.ID(), Layers: layers})
		r.Timelines++
		r.Layers += len(layers)
		for i := range layers {
			r.Bytes += layers[i].Desc.Size
		}
	}
	b, err := h.Encode()
	if err != nil {
		return r, err
	}
	_, err = env.Remote.Put(ctx, p.TenantPrefix()+index.HeatmapName, bytes.NewReader(b), int64(len(b)), remote.PutOptions{})
	return r, err
}

// heatmapFound is a heatmap as remote storage has it.
type heatmapFound struct {
	*index.Heatmap
	modified time.Time
}

func (h *heatmapFound) of(id page.TimelineID) []index.HeatLayer {
	for i := range h.Timelines {
		if h.Timelines[i].ID == id {
			return h.Timelines[i].Layers
		}
	}
	return nil
}

func readHeatmap(ctx context.Context, s remote.Storage, p upload.Place) (*heatmapFound, error) {
	key := p.TenantPrefix() + index.HeatmapName
	d, err := s.Get(ctx, key, remote.GetOptions{})
	if err != nil {
		return nil, err
	}
	var b []byte
	if d.Length > index.MaxSize {
		err = fmt.Errorf("%w: %d bytes, a heatmap has at most %d", remote.ErrSize, d.Length, index.MaxSize)
	} else {
		b = make([]byte, d.Length)
		_, err = io.ReadFull(d.Body, b)
	}
	if err = errors.Join(err, d.Body.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	h, err := index.ParseHeatmap(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return &heatmapFound{h, d.Object.Modified}, nil
}

// writeHeatmaps writes those of all tenants from time to time.
func (s *Store) writeHeatmaps(period time.Duration) func(ctx context.Context) {
	return func(ctx context.Context) {
		const jitter = 20 // a twentieth more or less, so that stores that began together do not write together
		for {
			if clock.Sleep(ctx, period-period/jitter+rand.N(2*period/jitter+1)) != nil {
				return
			}
			for _, t := range s.allTenants() {
				if t.stateNow() != Active {
					continue
				}
				if _, err := t.WriteHeatmap(ctx, period); err != nil && ctx.Err() == nil {
					s.env.Logger.Warn("cannot write a heatmap", "tenant", t.id, "err", err)
				}
			}
		}
	}
}
