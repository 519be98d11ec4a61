package strata

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
)

// ShardSet is all shards of a tenant.
type ShardSet struct {
	shards []*Tenant // by number
}

// ShardSet gives all shards of a tenant, which must be in this store. A tenant that is not sharded is a set of one.
func (e *Engine) ShardSet(ctx context.Context, id page.TenantID) (*ShardSet, error) {
	var shards []*Tenant
	for _, x := range e.Shards(id) {
		t, err := e.Shard(ctx, x)
		if err != nil {
			return nil, err
		}
		shards = append(shards, t)
	}
	if len(shards) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrTenantNotFound, id)
	}
	return NewShardSet(shards...)
}

// NewShardSet puts together all shards of one tenant, from whatever stores.
func NewShardSet(shards ...*Tenant) (*ShardSet, error) {
	if len(shards) == 0 {
		return nil, errors.New("a set of no shards")
	}
	first := shards[0].Shard()
	s := &ShardSet{shards: make([]*Tenant, max(first.Count, 1))}
	for _, t := range shards {
		x := t.Shard()
		n := x.Number
		if x.Number = first.Number; x != first || t.ID() != shards[0].ID() {
			return nil, fmt.Errorf("%s (%s) and %s (%s) are not shards of one tenant", shards[0].ShardID(), first, t.ShardID(), t.Shard())
		}
		if s.shards[n] != nil {
			return nil, fmt.Errorf("shard %s is there twice", t.ShardID())
		}
		s.shards[n] = t
	}
	for n, t := range s.shards {
		if t == nil {
			return nil, fmt.Errorf("%w: shard %d of %d of tenant %s", ErrTenantNotFound, n, first.Count, shards[0].ID())
		}
	}
	return s, nil
}

// ID is the tenant's id.
func (s *ShardSet) ID() page.TenantID { return s.shards[0].ID() }

// Tenants gives the shards by number.
func (s *ShardSet) Tenants() []*Tenant { return s.shards }

// Timeline finds a timeline by its name or id, which every shard must have.
func (s *ShardSet) Timeline(ctx context.Context, nameOrID string) (*ShardedTimeline, error) {
	tl := &ShardedTimeline{}
	for _, t := range s.shards {
		part, err := t.Timeline(ctx, nameOrID)
		if err != nil {
			return nil, fmt.Errorf("tenant %s: %w", t.ShardID(), err)
		}
		if tl.parts = append(tl.parts, part); part.t.ID() != tl.parts[0].t.ID() {
			return nil, fmt.Errorf("timeline %q is %s on shard 0 and %s on %s", nameOrID, tl.parts[0].t.ID(), part.t.ID(), t.ShardID())
		}
	}
	return tl, nil
}

// Import imports a cluster's files, but no running server's, into every shard, one after the other, under one timeline id: o.ID, or one that is
// drawn. Shards that have that timeline already are left as they are, so that an Import that was interrupted may be
// repeated with the same id. The result is what was read for the last one.
func (s *ShardSet) Import(ctx context.Context, o ImportOptions) (*ShardedTimeline, ImportResult, error) {
	var r ImportResult
	tl := &ShardedTimeline{}
	if o.Server != "" && len(s.shards) > 1 {
		return nil, r, fmt.Errorf("import into shards: %w", errShardServer)
	}
	for _, t := range s.shards {
		part, err := t.Timeline(ctx, o.ID.String())
		if errors.Is(err, ErrTimelineNotFound) {
			part, r, err = t.Import(ctx, o)
		}
		if err != nil {
			return nil, r, fmt.Errorf("tenant %s: %w", t.ShardID(), err)
		}
		o.ID = part.t.ID()
		tl.parts = append(tl.parts, part)
	}
	return tl, r, nil
}

// ShardedTimeline is a timeline of all shards of a tenant. It is read as one; each key is asked of the shard that it
// belongs to.
type ShardedTimeline struct {
	parts []*Timeline // by number
}

var _ datadir.Reader = (*ShardedTimeline)(nil)

// Parts gives the shards' timelines by number.
func (tl *ShardedTimeline) Parts() []*Timeline { return tl.parts }

// Part gives the timeline of the shard that a key belongs to.
func (tl *ShardedTimeline) Part(k page.Key) *Timeline {
	return tl.parts[tl.parts[0].Shard().Owner(k)]
}

// LastRecordLSN is up to where all shards are.
func (tl *ShardedTimeline) LastRecordLSN() page.LSN {
	last := tl.parts[0].LastRecordLSN()
	for _, p := range tl.parts {
		last = min(last, p.LastRecordLSN())
	}
	return last
}

// Get gives the value of key as of lsn.
func (tl *ShardedTimeline) Get(ctx context.Context, key page.Key, lsn page.LSN) ([]byte, error) {
	return tl.Part(key).Get(ctx, key, lsn)
}

// Cluster sees the cluster as of lsn, which must be one that ResolveLSN gives.
func (tl *ShardedTimeline) Cluster(lsn page.LSN) *datadir.Snapshot {
	return datadir.At(tl, lsn, tl.parts[0].t.Meta().Version)
}

// Page gives a block of a relation's fork as of lsn, as Timeline.Page does.
func (tl *ShardedTimeline) Page(ctx context.Context, rel page.RelTag, block uint32, lsn page.LSN) ([]byte, error) {
	return readPage(ctx, tl, tl.Cluster(lsn), rel, block, lsn)
}

// ResolveLSN gives the state that lsn means, as Timeline.ResolveLSN does. All shards must have come to lsn.
func (tl *ShardedTimeline) ResolveLSN(ctx context.Context, lsn page.LSN) (page.LSN, error) {
	for _, p := range tl.parts {
		if last := p.LastRecordLSN(); lsn > last {
			return 0, fmt.Errorf("%w: LSN %s: %s ends at %s", ErrFutureLSN, lsn, p.t.Meta().Shard, last)
		}
	}
	return tl.parts[0].ResolveLSN(ctx, lsn)
}

// each does something with every shard at once.
func (tl *ShardedTimeline) each(ctx context.Context, do func(ctx context.Context, n int, p *Timeline) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for n, p := range tl.parts {
		g.Go(func() error {
			if err := do(ctx, n, p); err != nil {
				return fmt.Errorf("%s: %w", p.Shard(), err)
			}
			return nil
		})
	}
	return g.Wait()
}

// Ingest gives the WAL segments of a directory to every shard, as Timeline.Ingest does. Each goes on from where it is, so
// that one that has fallen behind comes up. The result is that of the shard that came least far.
func (tl *ShardedTimeline) Ingest(ctx context.Context, o IngestOptions) (IngestResult, error) {
	results := make([]IngestResult, len(tl.parts))
	err := tl.each(ctx, func(ctx context.Context, n int, p *Timeline) (err error) {
		own := o
		if n > 0 {
			own.Progress = nil
		}
		results[n], err = p.Ingest(ctx, own)
		return err
	})
	least := results[0]
	for _, r := range results {
		if r.LSN < least.LSN {
			least = r
		}
	}
	return least, err
}

// Flush returns once everything put before it is durable on every shard.
func (tl *ShardedTimeline) Flush(ctx context.Context) error {
	return tl.each(ctx, func(ctx context.Context, _ int, p *Timeline) error { return p.Flush(ctx) })
}
