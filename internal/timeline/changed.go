package timeline

import (
	"context"
	"fmt"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// EachChanged calls fn for the keys of a range that have a version above from, and at or below to: in no particular order,
// some more than once. It reads the indexes of layers, and no value. What is in memory is written first.
//
// Where a cutoff lies above from, because that is held or an ancestor's, the versions between may have become images at a
// later LSN, which do not tell which keys have changed: then it gives keys that have not changed, too.
func (t *Timeline) EachChanged(ctx context.Context, keys page.Range, from, to page.LSN, fn func(k page.Key) error) error {
	if from > to {
		return fmt.Errorf("timeline %s: changes from LSN %s to %s: the first lies above the second", t.meta.Name, from, to)
	}
	for _, lsn := range []page.LSN{from, to} {
		if err := t.checkLSN(lsn); err != nil {
			return err
		}
	}
	if !t.env.ReadOnly {
		for a, needed := t, to; a != nil; a, needed = a.ancestor(), a.from().lsn { // what a branch inherits may be in its ancestor's memory
			if a.DiskConsistentLSN() >= min(needed, to) {
				continue
			}
			if err := a.Flush(ctx); err != nil {
				return err
			}
		}
	}
	l, err := t.pinToRead(to)
	if err != nil {
		return err
	}
	defer l.release()
	if err := t.checkKept(from); err != nil {
		return err
	}
	images := false
	for i, v := range l.views {
		images = images || l.lsns[i] > from && v.t.ownCutoff() > from
	}
	for i, v := range l.views {
		if l.lsns[i] <= from {
			break
		}
		if err := v.eachChanged(ctx, keys, page.LSNRange{Start: from + 1, End: l.lsns[i] + 1}, images, fn); err != nil {
			return fmt.Errorf("timeline %s: changes from LSN %s to %s: %w", v.t.meta.Name, from, to, err)
		}
	}
	return nil
}

// eachChanged looks through the layers of one timeline. Without images all versions are in deltas.
func (v *view) eachChanged(ctx context.Context, keys page.Range, lsns page.LSNRange, images bool, fn func(k page.Key) error) error {
	for d := range v.layers.Overlapping(keys, lsns) {
		if d.Image && !images {
			continue
		}
		r, err := v.t.files.reader(ctx, &d)
		if err != nil {
			return err
		}
		if err := changedIn(ctx, r, keys, lsns, fn); err != nil {
			return layerError(err)
		}
	}
	return nil
}

// changedIn looks through the index of one layer.
func changedIn(ctx context.Context, r *layer.Reader, keys page.Range, lsns page.LSNRange, fn func(k page.Key) error) error {
	places := r.Places(keys)
	defer places.Close()
	last, any := page.Key{}, false
	for {
		p, ok, err := places.Next(ctx)
		if err != nil || !ok {
			return err
		}
		if !lsns.Contains(p.LSN) || any && p.Key == last {
			continue
		}
		last, any = p.Key, true
		if err := fn(p.Key); err != nil {
			return err
		}
	}
}
