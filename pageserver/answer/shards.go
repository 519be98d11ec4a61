package answer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
)

// ErrElsewhere marks what a shard has that was not asked for, or is not here: who asks has to find out anew who has it.
var ErrElsewhere = errors.New("another shard has it")

// Finder finds timelines of an engine's tenants and of their shards.
type Finder struct {
	Engine *strata.Engine
	// Limit and Waiting are those of each Source.
	Limit   time.Duration
	Waiting func()
}

// Tenant finds a timeline in a tenant, or in all of its shards that are here.
func (f *Finder) Tenant(ctx context.Context, tenant page.TenantID, timeline page.TimelineID) (*Shards, error) {
	return f.find(ctx, page.TenantShardID{Tenant: tenant}, timeline, func(page.ShardIndex) bool { return true })
}

// Shard finds a timeline in one shard or, where that has been split, in those that it has become and that are here.
func (f *Finder) Shard(ctx context.Context, id page.TenantShardID, timeline page.TimelineID) (*Shards, error) {
	if _, err := f.Engine.Shard(ctx, id); !errors.Is(err, strata.ErrTenantNotFound) {
		return f.find(ctx, id, timeline, func(x page.ShardIndex) bool { return x == id.Shard })
	}
	before := max(id.Shard.Count, 1)
	return f.find(ctx, id, timeline, func(x page.ShardIndex) bool { return x.Count > before && x.Number%before == id.Shard.Number })
}

// tries is how often it is looked for shards, where they are split meanwhile.
const tries = 3

func (f *Finder) find(ctx context.Context, id page.TenantShardID, timeline page.TimelineID, wanted func(page.ShardIndex) bool) (s *Shards, err error) {
	for range tries {
		s, err = f.collect(ctx, id, timeline, wanted)
		if !errors.Is(err, strata.ErrTenantNotFound) {
			break
		}
	}
	return s, err
}

func (f *Finder) collect(ctx context.Context, id page.TenantShardID, timeline page.TimelineID, wanted func(page.ShardIndex) bool) (*Shards, error) {
	s := &Shards{engine: f.Engine, tenant: id.Tenant, timeline: timeline, of: map[page.ShardIdentity]*Source{}}
	for _, x := range f.Engine.Shards(id.Tenant) {
		if !wanted(x.Shard) {
			continue
		}
		t, err := f.Engine.Shard(ctx, x)
		if err != nil {
			return nil, err
		}
		tl, err := t.Timeline(ctx, timeline.String())
		if err != nil {
			return nil, err
		}
		s.add(&Source{Timeline: tl, Limit: f.Limit, Waiting: f.Waiting})
	}
	if len(s.parts) == 0 {
		if _, err := f.Engine.Shard(ctx, id); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %s", strata.ErrTenantNotFound, id) // it came this moment
	}
	return s, nil
}

// Shards is a timeline of one tenant, or of some of its shards.
type Shards struct {
	engine   *strata.Engine
	tenant   page.TenantID
	timeline page.TimelineID
	parts    []*Source
	layouts  []page.ShardIdentity // how keys are dealt out, by shard 0; several in the midst of a split
	of       map[page.ShardIdentity]*Source
}

func (s *Shards) add(src *Source) {
	x := src.Shard()
	s.of[x] = src
	s.parts = append(s.parts, src)
	x.Number = 0
	for _, l := range s.layouts {
		if l == x {
			return
		}
	}
	s.layouts = append(s.layouts, x)
}

// All gives the timeline in each shard.
func (s *Shards) All() []*Source { return s.parts }

// First gives the timeline of shard 0, which has what is no block of a relation.
func (s *Shards) First() (*Source, error) {
	for _, src := range s.parts {
		if src.Shard().First() {
			return src, nil
		}
	}
	return nil, fmt.Errorf("%w: shard 0 of tenant %s is asked for", ErrElsewhere, s.tenant)
}

// Owner gives the timeline of the shard that a block belongs to.
func (s *Shards) Owner(rel page.RelTag, block uint32) (*Source, error) {
	k := rel.Block(block)
	var x page.ShardIdentity
	for _, x = range s.layouts {
		x.Number = x.Owner(k)
		if src := s.of[x]; src != nil {
			return src, nil
		}
	}
	return nil, fmt.Errorf("%w: block %d of relation %s belongs to shard %d of %d", ErrElsewhere, block, rel, x.Number, x.Count)
}

// Wait waits until the timeline has reached an LSN in each shard.
func (s *Shards) Wait(ctx context.Context, lsn page.LSN) error {
	for _, src := range s.parts {
		if err := src.Wait(ctx, lsn); err != nil {
			return err
		}
	}
	return nil
}

// BaseBackup writes the whole cluster, as strata.Timeline.BaseBackup does; of a tenant with shards all have to be here.
func (s *Shards) BaseBackup(ctx context.Context, w io.Writer, o strata.BaseBackupOptions) (strata.BaseBackupResult, error) {
	if len(s.parts) == 1 && s.parts[0].Shard().Alone() {
		return s.parts[0].BaseBackup(ctx, w, o)
	}
	set, err := s.engine.ShardSet(ctx, s.tenant)
	if err != nil {
		return strata.BaseBackupResult{}, err
	}
	tl, err := set.Timeline(ctx, s.timeline.String())
	if err != nil {
		return strata.BaseBackupResult{}, err
	}
	return tl.BaseBackup(ctx, w, o)
}

// Lease keeps an LSN readable in each shard, and says how long it is in all of them.
func (s *Shards) Lease(ctx context.Context, lsn page.LSN, length time.Duration) (until time.Time, err error) {
	for _, src := range s.parts {
		l, err := src.Lease(ctx, lsn, length)
		if err != nil {
			return until, err
		}
		if until.IsZero() || l.Until.Before(until) {
			until = l.Until
		}
	}
	return until, nil
}

// share is those pages of a batch that one shard has.
type share struct {
	src   *Source
	at    *datadir.Snapshot
	pages []int // nil for all
}

// Shares says from which shards, and of which states, the pages of a batch come.
type Shares []share

// Deal finds out where the pages of a batch come from, and waits until all these shards have come so far.
func (s *Shards) Deal(ctx context.Context, b *Batch, wanted, notModifiedSince page.LSN) (Shares, error) {
	shares, err := s.deal(b)
	for i := range shares {
		if err == nil {
			shares[i].at, err = shares[i].src.At(ctx, wanted, notModifiedSince)
		}
	}
	return shares, err
}

func (s *Shards) deal(b *Batch) (Shares, error) {
	if len(s.parts) == 1 && s.parts[0].Shard().Alone() {
		return Shares{{src: s.parts[0]}}, nil
	}
	var shares Shares
	number := map[*Source]int{}
	for i := range b.Pages {
		src, err := s.Owner(b.Pages[i].Rel, b.Pages[i].Block)
		if err != nil {
			return nil, err
		}
		n, ok := number[src]
		if !ok {
			n = len(shares)
			number[src], shares = n, append(shares, share{src: src})
		}
		shares[n].pages = append(shares[n].pages, i)
	}
	return shares, nil
}

// Read reads all pages of the batch that was dealt, from all shards at once. It reports whether one of them has an error.
func (s Shares) Read(ctx context.Context, b *Batch) (failed bool) {
	if len(s) == 1 {
		return b.Read(ctx, s[0].src, s[0].at)
	}
	failures := make([]bool, len(s))
	var all sync.WaitGroup
	for n := range s {
		all.Go(func() { failures[n] = s[n].read(ctx, b) })
	}
	all.Wait()
	for _, f := range failures {
		failed = failed || f
	}
	return failed
}

// read reads one shard's pages, which are nobody else's.
func (s *share) read(ctx context.Context, b *Batch) (failed bool) {
	var own Batch
	for _, i := range s.pages {
		own.Pages = append(own.Pages, b.Pages[i])
	}
	failed = own.Read(ctx, s.src, s.at)
	for n, i := range s.pages {
		b.Pages[i].Err = own.Pages[n].Err
	}
	return failed
}
