package timeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// liveKeys are the dense keys that exist at an LSN, as found last.
type liveKeys struct {
	lsn  page.LSN
	keys page.Set
	// exact says that the data directory tells them. An embedder's timeline may have none: then they are those
	// of which layers hold anything, with the gaps between the blocks of a relation.
	exact bool
}

// contents are the dense keys that the layers of a timeline hold; each layer is looked through once. They have a turn of
// their own: jobs of branches ask for them while they hold lanes, for which the compactor waits with its turn.
type contents struct {
	turn turn
	of   map[compaction.ID]page.Set // guarded by turn
}

// liveReuse is how many times more WAL than since the live keys were found makes a layer: so long they are good
// enough to plan with.
const liveReuse = 10

// liveAt gives the live keys at lsn or, unless they must be exactly those, at an LSN not far below. The caller has the
// compactor's turn.
func (t *Timeline) liveAt(ctx context.Context, lsn page.LSN, exactly bool) (*liveKeys, error) {
	l := &t.compact.live
	near := t.compactOptions().CheckpointDistance / liveReuse
	if exactly {
		near = 1
	}
	if l.lsn != 0 && l.lsn <= lsn && l.lsn >= t.begin() && int64(lsn-l.lsn) < near {
		return l, nil
	}
	keys, exact, err := t.findLive(ctx, lsn)
	if err != nil {
		return nil, fmt.Errorf("timeline %s: which keys exist at LSN %s: %w", t.meta.Name, lsn, err)
	}
	l.lsn, l.keys, l.exact = lsn, keys, exact
	t.plans.live.Store(&liveSet{lsn, keys})
	return l, nil
}

// findLive finds them out.
func (t *Timeline) findLive(ctx context.Context, lsn page.LSN) (keys page.Set, exact bool, err error) {
	ranges, err := directoryKeys(ctx, datadir.At(t, lsn, t.meta.Version), t.meta.Shard)
	if errors.Is(err, page.ErrNotFound) {
		keys, err = t.heldKeys(ctx)
		return keys, false, err
	}
	return t.meta.Shard.Restrict(page.NewSet(ranges...)), true, err
}

func single(k page.Key) page.Range { return page.Range{Start: k, End: k.Next()} }

// directoryKeys lists all dense keys of a data directory, but for SLRUs where these are another shard's.
func directoryKeys(ctx context.Context, s *datadir.Snapshot, shard page.ShardIdentity) ([]page.Range, error) {
	out, err := s.DenseKeys(ctx, shard.Keeps)
	if errors.Is(err, datadir.ErrCorrupt) {
		err = fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	return out, err
}

// heldKeys gives the dense keys that the timeline's layers and its ancestors' hold.
func (t *Timeline) heldKeys(ctx context.Context) (page.Set, error) {
	if err := t.compact.contents.turn.take(ctx); err != nil {
		return page.Set{}, err
	}
	defer t.compact.contents.turn.give()
	v, err := t.pinView()
	if err != nil {
		return page.Set{}, err
	}
	defer v.release()
	held := make(map[compaction.ID]page.Set, v.layers.Len())
	var all []page.Range
	for d := range v.layers.All() {
		id := idOf(&d)
		keys, known := t.compact.contents.of[id]
		if !known {
			if keys, err = t.keysOf(ctx, &d); err != nil {
				return page.Set{}, err
			}
		}
		held[id] = keys
		all = append(all, keys.Ranges()...)
	}
	t.compact.contents.of = held
	if a := v.from.ancestor; a != nil {
		keys, err := a.heldKeys(ctx)
		if err != nil {
			return page.Set{}, err
		}
		all = append(all, keys.Ranges()...)
	}
	return page.NewSet(all...), nil
}

// keysOf gives the dense keys that a layer holds, with the gaps between the blocks of a relation.
func (t *Timeline) keysOf(ctx context.Context, d *layer.Desc) (page.Set, error) {
	r, err := t.files.reader(ctx, d)
	if err != nil {
		return page.Set{}, err
	}
	places := r.Places(page.FullRange)
	defer places.Close()
	var out []page.Range
	for {
		p, ok, err := places.Next(ctx)
		if err != nil {
			return page.Set{}, layerError(err)
		}
		if !ok {
			return page.NewSet(out...), nil
		}
		n := len(out)
		switch {
		case p.Key.Sparse():
		case n > 0 && sameRelation(out[n-1].Start, p.Key):
			out[n-1].End = p.Key.Next()
		default:
			out = append(out, single(p.Key))
		}
	}
}

// sameRelation reports whether two keys differ at most in the block.
func sameRelation(a, b page.Key) bool {
	a.F6, b.F6 = 0, 0
	return a == b
}
