package timeline

import (
	"context"
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
)

// maxDeadPoints bounds the retained LSNs at which a fold finds out which keys exist. At others every key does.
const maxDeadPoints = 16

// deadAt says which dense keys exist where reads are served.
type deadAt struct {
	lsn    page.LSN // of the FoldSpec
	exists page.Set
	known  bool // else all may
}

// findDead asks the directories which keys exist at the fold's read points. Where they cannot be read, or not of this
// timeline alone, every key may.
func (f *folding) findDead(ctx context.Context) {
	spec := f.r.job.Fold
	for i, lsn := range spec.Retain {
		d := deadAt{lsn: lsn}
		if i < maxDeadPoints && f.allReadAt(lsn) {
			d.exists, d.known = f.existAt(ctx, lsn)
		}
		f.dead = append(f.dead, d)
	}
	// Reads at the horizon and above are served from the cutoff on.
	d := deadAt{lsn: spec.Horizon}
	d.exists, d.known = f.existAt(ctx, max(spec.Horizon, f.r.snap.Cutoff))
	f.dead = append(f.dead, d)
}

// allReadAt reports whether no branch has released anything at a retained LSN: else directories may be incomplete there.
func (f *folding) allReadAt(lsn page.LSN) bool {
	for _, p := range f.r.snap.Retain {
		if p.LSN == lsn {
			return page.NewSet(p.Released...).Subtract(page.NewSet(page.NotInherited)).Empty()
		}
	}
	return lsn >= f.r.snap.Cutoff
}

// existAt gives the dense keys that exist at an LSN, if that can be told.
func (f *folding) existAt(ctx context.Context, lsn page.LSN) (page.Set, bool) {
	l, err := f.t.pin(lsn)
	if err != nil {
		return page.Set{}, false
	}
	defer l.release()
	ranges, err := directoryKeys(f.t.env.inBackground(ctx), datadir.At(pinned{f.t, l}, lsn, f.t.meta.Version), f.t.meta.Shard)
	return page.NewSet(ranges...), err == nil
}

// pinned reads what was pinned, also where reads are refused to others.
type pinned struct {
	t *Timeline
	l *lineage
}

// Get reads one key.
func (p pinned) Get(ctx context.Context, k page.Key, lsn page.LSN) ([]byte, error) {
	return p.l.get(ctx, k, lsn)
}

// GetVectored reads many keys.
func (p pinned) GetVectored(ctx context.Context, keys page.Set, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error {
	return p.l.getVectored(ctx, keys, lsn, fn)
}

// gone reports whether a key exists at none of the points at or above lsn.
func (f *folding) gone(k page.Key, lsn page.LSN) bool {
	if k.Sparse() {
		return false
	}
	any := false
	for i := range f.dead {
		d := &f.dead[i]
		if d.lsn < lsn {
			continue
		}
		if !d.known || d.exists.Contains(k) {
			return false
		}
		any = true
	}
	return any
}

// releases say at which retained LSNs nobody reads a key any more. Keys are asked for in ascending order.
type releases struct {
	points []compaction.ReadPoint // those of the fold that have released anything
	until  page.Key               // what was found is so for all keys before
	found  []page.LSN
	any    bool
}

func (r *releases) of(f *folding) {
	for _, p := range f.r.snap.Retain {
		if len(p.Released) > 0 && slices.Contains(f.r.job.Fold.Retain, p.LSN) {
			r.points = append(r.points, p)
		}
	}
}

// at gives the LSNs at which k is released, valid until the next call.
func (r *releases) at(k page.Key) []page.LSN {
	if len(r.points) == 0 || r.any && k.Less(r.until) {
		return r.found
	}
	r.found, r.until, r.any = r.found[:0], page.MaxKey, true
	for _, p := range r.points {
		i, _ := slices.BinarySearchFunc(p.Released, k, func(x page.Range, k page.Key) int {
			if k.Less(x.End) {
				return 1
			}
			return -1
		})
		if i == len(p.Released) {
			continue
		}
		next := p.Released[i].Start
		if !k.Less(next) {
			r.found = append(r.found, p.LSN)
			next = p.Released[i].End
		}
		if next.Less(r.until) {
			r.until = next
		}
	}
	return r.found
}
