package tenant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
)

// SecondaryStatus is how far a store is with the layers of a tenant that it has not attached.
type SecondaryStatus struct {
	// Modified is when the heatmap was written; zero if there is none.
	Modified time.Time
	// Layers and Bytes are here, of those that the heatmap names.
	timeline.DownloadProgress
}

// DownloadSecondary fetches the layers that a tenant's heatmap names, so that an Attach here finds them, and forgets those that it does
// not name any more. What is here when ctx ends stays, and counts the next time. Without a heatmap there is nothing to do. progress may be
// nil.
func (s *Store) DownloadSecondary(ctx context.Context, id page.TenantShardID, progress func(SecondaryStatus)) (st SecondaryStatus, err error) {
	if s.env.Remote == nil || s.env.ReadOnly {
		return st, fmt.Errorf("secondary of tenant %s: the store has no remote storage, or is only read", id)
	}
	select {
	case s.fetching <- struct{}{}:
		defer func() { <-s.fetching }()
	case <-ctx.Done():
		return st, ctx.Err()
	}
	if _, err := s.Shard(id); !errors.Is(err, ErrTenantNotFound) {
		return st, fmt.Errorf("secondary of tenant %s: %w: it is attached here", id, errors.Join(ErrTenantExists, err))
	}
	h, err := readHeatmap(ctx, s.env.Remote, upload.Place{Tenant: id.Tenant, Shard: id.Shard.Suffix()})
	if errors.Is(err, remote.ErrNotFound) {
		return st, nil
	}
	if err != nil {
		return st, fmt.Errorf("secondary of tenant %s: %w", id, err)
	}
	st.Modified = h.modified
	st.TotalLayers, st.TotalBytes = h.Warm()
	if err := s.fetchHeatmap(ctx, id, h, &st, progress); err != nil {
		return st, fmt.Errorf("secondary of tenant %s: %d of %d layers: %w", id, st.Layers, st.TotalLayers, err)
	}
	return st, nil
}

func (s *Store) fetchHeatmap(ctx context.Context, id page.TenantShardID, h *heatmapFound, st *SecondaryStatus, progress func(SecondaryStatus)) error {
	if err := s.forgetSecondary(id, h); err != nil {
		return err
	}
	var errs []error
	for i := range h.Timelines {
		t := &h.Timelines[i]
		var layers []index.Layer
		for _, l := range t.Layers {
			if !l.Cold {
				layers = append(layers, l.Layer)
			}
		}
		before := st.DownloadProgress
		errs = append(errs, timeline.Fetch(ctx, s.env, timeline.WarmDir(s.dir, id, t.ID), layer.Identity{Tenant: id.Tenant, Timeline: t.ID}, layers,
			func(p timeline.DownloadProgress) {
				st.Layers, st.Bytes = before.Layers+p.Layers, before.Bytes+p.Bytes
				if progress != nil {
					progress(*st)
				}
			}))
	}
	return errors.Join(errs...)
}

// forgetSecondary removes the layers of timelines that a heatmap does not name any more.
func (s *Store) forgetSecondary(id page.TenantShardID, h *heatmapFound) error {
	named := map[string]bool{}
	for i := range h.Timelines {
		named[h.Timelines[i].ID.String()] = true
	}
	dir := filepath.Dir(timeline.WarmDir(s.dir, id, page.TimelineID{}))
	names, err := s.fs.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, name := range names {
		if !named[name] {
			err = errors.Join(err, s.fs.RemoveAll(filepath.Join(dir, name)))
		}
	}
	return err
}

// ForgetSecondary removes what DownloadSecondary brought of a tenant.
func (s *Store) ForgetSecondary(id page.TenantShardID) error {
	return s.fs.RemoveAll(filepath.Dir(timeline.WarmDir(s.dir, id, page.TimelineID{})))
}
