package tenant

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
)

// SplitOptions say into what a tenant is split.
type SplitOptions struct {
	// Shards is how many the tenant then has: as many as now, times a power of two.
	Shards uint8
	// StripeSize is that of the shards, in pages; 0 leaves it. Only a tenant of one shard can get another.
	StripeSize uint32
}

// Split makes of a tenant, or of one shard of a tenant, the shards that have its keys when there are so many. They share its
// layers: a file here gets further names, and an object in remote storage is named by their indexes too, and stays that of
// the tenant that was split. Compaction rewrites in time what of it is theirs. The tenant is read as before until the shards
// are there; nothing can be put from a little before that.
//
// A file in the tenant's folder says that it is being split, and then that it was: a process that ends in between leaves
// either the tenant, or all of the shards. After an error the tenant is as it was, unless the error says otherwise.
func (s *Store) Split(ctx context.Context, id page.TenantShardID, o SplitOptions) ([]*Tenant, error) {
	shards, err := s.split(ctx, id, o)
	if err != nil {
		return nil, fmt.Errorf("split tenant %s into %d shards: %w", id, o.Shards, err)
	}
	return shards, nil
}

func (s *Store) split(ctx context.Context, id page.TenantShardID, o SplitOptions) ([]*Tenant, error) {
	if s.env.ReadOnly {
		return nil, timeline.ErrReadOnly
	}
	select {
	case s.making <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.making }()
	t, err := s.Shard(id)
	if err != nil {
		return nil, err
	}
	children, err := t.shard.Children(o.Shards, o.StripeSize)
	if err != nil {
		return nil, err
	}
	if err := s.retireSplit(id.Tenant); err != nil {
		return nil, err
	}
	if err := t.take(ctx); err != nil {
		return nil, err
	}
	p := &splitting{s: s, t: t, children: children}
	err = p.prepare(ctx)
	if err == nil {
		err = p.commit()
	}
	if err != nil {
		err = errors.Join(err, p.undo())
		t.give()
		return nil, err
	}
	return p.finish(ctx)
}

// splitting is a split on its way.
type splitting struct {
	s        *Store
	t        *Tenant
	children []page.ShardIdentity
	stopped  []*timeline.Split
	begun    bool // the tenant's folder may say that it is being split
	unsure   bool // it may say that it was
}

func (p *splitting) id(shard page.ShardIdentity) page.TenantShardID {
	return page.TenantShardID{Tenant: p.t.id, Shard: shard.ShardIndex}
}

// prepare writes all of the shards' folders.
func (p *splitting) prepare(ctx context.Context) error {
	if err := p.t.beSplit(true); err != nil {
		return err
	}
	if err := p.s.needShards(); err != nil {
		return err
	}
	p.begun = true
	if err := p.s.writeSplit(p.t.ShardID(), splitFile{splitBegun, p.children}); err != nil {
		return err
	}
	if err := p.s.removeChildren(p.t.id, p.children); err != nil { // of another try
		return err
	}
	// Most is written while others still put.
	for _, tl := range p.t.Timelines() {
		if err := tl.Flush(ctx); err != nil && !errors.Is(err, timeline.ErrArchived) {
			return err
		}
	}
	for _, tl := range p.t.Timelines() {
		x, err := tl.BeginSplit(ctx)
		if err != nil {
			return err
		}
		p.stopped = append(p.stopped, x)
	}
	for _, shard := range p.children {
		if err := p.makeShard(ctx, shard); err != nil {
			return fmt.Errorf("%s: %w", shard, err)
		}
	}
	return nil
}

// makeShard writes the folder of one shard.
func (p *splitting) makeShard(ctx context.Context, shard page.ShardIdentity) error {
	s, id := p.s, p.id(shard)
	if err := s.makeTenantDir(id); err != nil {
		return err
	}
	if s.env.Remote != nil {
		floor := s.env.Generation(p.t.ShardID())
		g, err := upload.Leases{Remote: s.env.Remote}.Acquire(ctx, upload.Place{Tenant: id.Tenant, Shard: id.Shard.Suffix()}, floor)
		if err != nil {
			return err
		}
		if err := s.writeGeneration(id, g); err != nil {
			return err
		}
		s.env.SetGeneration(id, g)
	}
	child := newTenant(s, id.Tenant, shard)
	for _, x := range p.stopped {
		if err := x.Write(ctx, child.dir, shard); err != nil {
			return err
		}
	}
	var archived []record
	for _, r := range p.t.records {
		archived = append(archived, r)
	}
	if err := child.record(archived...); err != nil {
		return err
	}
	if err := child.inheritManifest(ctx, p.t); err != nil {
		return err
	}
	// The shard's file is last.
	return s.makeShardDir(id.Tenant, shard)
}

// commit makes the shards what there is.
func (p *splitting) commit() error {
	p.unsure = true
	return p.s.writeSplit(p.t.ShardID(), splitFile{splitDone, p.children})
}

// undo has the tenant go on as it was. Where it cannot be known that no start will find the shards, nothing can be put
// before the next one.
func (p *splitting) undo() error {
	if p.unsure {
		if err := p.s.writeSplit(p.t.ShardID(), splitFile{splitBegun, p.children}); err != nil {
			for _, tl := range p.t.Timelines() {
				tl.Seal(fmt.Errorf("%w: whether its tenant was split will be known when the store is opened again", ErrNotActive))
			}
			p.end()
			return fmt.Errorf("whether it was will be known when the store is opened again; nothing is put until then: %w", err)
		}
	}
	p.end()
	var err error
	if p.begun {
		err = p.s.dropSplit(p.t.ShardID(), p.children)
	}
	if err != nil {
		p.s.env.Logger.Warn("what an unfinished split has made cannot be removed; the next start does", "tenant", p.t.ShardID(), "err", err)
	}
	return p.t.beSplit(false)
}

// end lets the timelines go on.
func (p *splitting) end() {
	for _, x := range p.stopped {
		x.End()
	}
	p.stopped = nil
}

// finish opens the shards and retires the tenant, whose turn it gives.
func (p *splitting) finish(ctx context.Context) ([]*Tenant, error) {
	for _, tl := range p.t.Timelines() {
		tl.Seal(fmt.Errorf("%w: its tenant was split into shards, ask those", ErrNotActive))
	}
	p.end()
	var out []*Tenant
	var errs []error
	for _, shard := range p.children {
		t, err := p.s.openTenant(ctx, p.id(shard))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s is there and cannot be opened; open the store again: %w", shard, err))
			continue
		}
		out = append(out, t)
	}
	p.s.mu.Lock()
	delete(p.s.mu.tenants, p.t.ShardID())
	for _, t := range out {
		p.s.mu.tenants[t.ShardID()] = t
	}
	p.s.mu.Unlock()
	p.t.set(nil, func() { p.t.mu.state = Stopping })
	p.t.give()
	if err := p.t.close(true); err != nil {
		p.s.env.Logger.Warn("a tenant that was split could not be closed well; its shards have all of it", "tenant", p.t.ShardID(), "err", err)
	}
	if err := p.s.retire(p.t.ShardID()); err != nil {
		p.s.env.Logger.Warn("the folder of a tenant that was split cannot be removed; the next start does", "tenant", p.t.ShardID(), "err", err)
	}
	return out, errors.Join(errs...)
}

// beSplit keeps timelines from being made, and makes sure that all are there.
func (t *Tenant) beSplit(on bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.splitting = on
	for _, s := range t.mu.slots {
		if on && s.state != Active {
			t.mu.splitting = false
			return fmt.Errorf("%w: timeline %q is %s; all have to be active", ErrNotActive, s.name, s.state)
		}
	}
	return nil
}
