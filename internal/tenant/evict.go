package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stratapg/strata/internal/evict"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// EvictConfig says when layers leave the disk that remote storage has too.
type EvictConfig struct {
	evict.Limits
	// Period is how often that is looked at; 0 is never.
	Period time.Duration
}

// evictTime bounds how long an eviction waits for those who read a timeline's layers.
const evictTime = 5 * time.Second

// EvictReport says what an eviction did.
type EvictReport struct {
	timeline.Evicted
	// Held is how many layers stayed because somebody read them, Short how many bytes are still too many.
	Held  int
	Short int64
	// Reasons count the layers by why they were chosen.
	Reasons map[evict.Reason]int
}

// candidates is a snapshot of what may be evicted.
type candidates struct {
	layers []evict.Layer
	owners []owned
	disk   evict.Disk
}

type owned struct {
	by   evicter
	desc layer.Desc
}

// evicter is a timeline, or an import that is not finished.
type evicter interface {
	Evict(ctx context.Context, ds ...layer.Desc) (timeline.Evicted, error)
}

// Evict looks once, and removes what is too much by some limits. One at a time looks.
func (s *Store) Evict(ctx context.Context, l evict.Limits) (r EvictReport, err error) {
	if s.env.ReadOnly {
		return r, fmt.Errorf("store %s: evict: %w", s.dir, timeline.ErrReadOnly)
	}
	if s.env.Remote == nil {
		return r, fmt.Errorf("store %s: evict: it has no remote storage, and layers are nowhere but here", s.dir)
	}
	select {
	case s.evicting <- struct{}{}:
		defer func() { <-s.evicting }()
	case <-ctx.Done():
		return r, ctx.Err()
	}
	c, err := s.candidates()
	if err != nil {
		return r, fmt.Errorf("store %s: evict: %w", s.dir, err)
	}
	chosen, short := evict.Plan(c.layers, l, c.disk, s.env.Clock())
	r.Short, r.Reasons = short, map[evict.Reason]int{}
	var errs []error
	for tl, ds := range c.byTimeline(chosen, r.Reasons) {
		bounded, cancel := context.WithTimeout(ctx, evictTime)
		done, err := tl.Evict(bounded, ds...)
		cancel()
		r.Layers += done.Layers
		r.Bytes += done.Bytes
		r.Held += len(ds) - done.Layers
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, timeline.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return r, errors.Join(errs...)
}

// byTimeline gives the chosen layers of each timeline, and counts why.
func (c *candidates) byTimeline(chosen []evict.Choice, reasons map[evict.Reason]int) map[evicter][]layer.Desc {
	out := map[evicter][]layer.Desc{}
	for _, x := range chosen {
		reasons[x.Reason]++
		o := c.owners[x.Layer]
		out[o.by] = append(out[o.by], o.desc)
	}
	return out
}

func (s *Store) candidates() (c candidates, err error) {
	for n, t := range s.allTenants() {
		for _, tl := range t.Timelines() {
			resident, bytes, err := tl.Resident()
			if errors.Is(err, timeline.ErrClosed) {
				continue
			}
			if err != nil {
				return c, err
			}
			c.disk.Layers += bytes
			for _, r := range resident {
				c.layers = append(c.layers, evict.Layer{Tenant: n, Size: r.Desc.Size, Used: r.Used, Covered: r.Covered})
				c.owners = append(c.owners, owned{tl, r.Desc})
			}
		}
		for _, i := range t.unfinishedImports() {
			for _, d := range i.resident() { // nobody reads them before the import is finished
				c.disk.Layers += d.Size
				c.layers = append(c.layers, evict.Layer{Tenant: n, Size: d.Size, Used: i.file.begun})
				c.owners = append(c.owners, owned{i, d})
			}
		}
	}
	space, err := virtualfile.SpaceOf(s.fs, s.dir)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return c, err
	}
	c.disk.Total, c.disk.Avail = space.Total, space.Avail
	return c, nil
}

// allTenants gives the tenants in the order of their ids.
func (s *Store) allTenants() []*Tenant {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Tenant, 0, len(s.mu.tenants))
	for _, t := range s.mu.tenants {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b *Tenant) int { return strings.Compare(idText(a.id), idText(b.id)) })
	return out
}

func idText(id page.TenantID) string { return string(id[:]) }

// noteFull has layers evicted: the disk was found full.
func (s *Store) noteFull() {
	select {
	case s.full <- struct{}{}:
	default:
	}
}

// evictInBackground looks from time to time, and at once when the disk is full: then at least a layer is to find room.
func (s *Store) evictInBackground(c EvictConfig) func(ctx context.Context) {
	return func(ctx context.Context) {
		t := time.NewTicker(c.Period)
		defer t.Stop()
		for {
			var limits evict.Limits
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				limits = c.Limits
			case <-s.full:
				limits = c.Limits
				limits.MinAvailBytes = max(limits.MinAvailBytes, 2*s.env.CheckpointDistance)
			}
			s.env.NoteUse()
			r, err := s.Evict(ctx, limits)
			if ctx.Err() != nil {
				return
			}
			if err != nil || r.Short > 0 {
				s.env.Logger.Warn("not all was evicted that should be", "store", s.dir, "layers", r.Layers, "held", r.Held, "bytes_short", r.Short, "err", err)
			}
		}
	}
}
