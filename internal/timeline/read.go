package timeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// windowBytes bounds what one step of a read holds, slots for the pages to be rebuilt included; one key's
// chain may be longer.
const windowBytes = 8 << 20

// Get gives the value of key as of lsn: a page, or what a directory-like key holds. The caller owns it. The
// error wraps page.ErrNotFound if the key has no version there.
func (t *Timeline) Get(ctx context.Context, key page.Key, lsn page.LSN) ([]byte, error) {
	var out []byte
	found := false
	err := t.GetVectored(ctx, page.SetOfKeys(key), lsn, func(_ page.Key, v []byte, err error) error {
		out, found = slices.Clone(v), true
		return err
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("timeline %s: %s at LSN %s: %w", t.meta.Name, key.Describe(), lsn, page.ErrNotFound)
	}
	if out == nil {
		out = []byte{}
	}
	return out, nil
}

// GetVectored calls fn in ascending key order for every key of keys that has a version at lsn, with its
// value, which is valid during the call only, or with the reason why this one cannot be rebuilt. Keys
// without a version are left out. It ends with the first error that fn returns. However many keys there are,
// memory stays bounded. fn runs on the caller's goroutine, what comes before it on as many as there are
// processors.
func (t *Timeline) GetVectored(ctx context.Context, keys page.Set, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error {
	if err := t.checkLSN(lsn); err != nil {
		return err
	}
	t.env.counters.reads.Add(1)
	for _, p := range t.parts(keys) {
		if err := t.readPart(ctx, p, lsn, fn); err != nil {
			return err
		}
	}
	return nil
}

// checkLSN says why a read at lsn is impossible.
func (t *Timeline) checkLSN(lsn page.LSN) error {
	if t.closed.Load() {
		return fmt.Errorf("timeline %s: %w", t.meta.Name, ErrClosed)
	}
	if last := t.LastRecordLSN(); lsn > last {
		return fmt.Errorf("%w: LSN %s of timeline %s, which ends at %s; ingest more WAL, or ask for an LSN up to that",
			ErrFutureLSN, lsn, t.meta.Name, last)
	}
	if oldest := t.oldestBelow(lsn); lsn < oldest {
		return fmt.Errorf("%w: LSN %s of timeline %s, which begins at %s", ErrBeforeHistory, lsn, t.meta.Name, oldest)
	}
	return nil
}

// oldestBelow gives the oldest LSN that can be read in the timeline of the ancestry that lsn belongs to.
func (t *Timeline) oldestBelow(lsn page.LSN) page.LSN {
	for t.ancestor != nil && lsn <= t.meta.AncestorLSN && t.cutoff <= t.meta.InitialLSN {
		t = t.ancestor
	}
	return max(t.cutoff, t.meta.InitialLSN)
}

// part is a set of keys that are all inherited by branches, or all not.
type part struct {
	keys      page.Set
	inherited bool
}

// parts splits keys, in order, at the bounds of what branches inherit.
func (t *Timeline) parts(keys page.Set) []part {
	if t.ancestor == nil || !keys.Overlaps(page.NotInherited) {
		return []part{{keys, true}}
	}
	return []part{
		{keys.Intersect(page.Range{Start: page.MinKey, End: page.NotInherited.Start}), true},
		{keys.Intersect(page.NotInherited), false},
		{keys.Intersect(page.Range{Start: page.NotInherited.End, End: page.MaxKey}), true},
	}
}

// gather fills c from the timeline and, if they are inherited, from its ancestors.
func (t *Timeline) gather(ctx context.Context, c *layer.Collector, inherited bool) error {
	lsn := c.LSN()
	for at := t; at != nil; at = at.ancestor {
		if err := at.collect(ctx, c, min(lsn, at.LastRecordLSN())); err != nil {
			return fmt.Errorf("timeline %s: %w", at.meta.Name, err)
		}
		if !inherited || at.ancestor == nil || c.Open().Empty() {
			break
		}
		lsn = min(lsn, at.meta.AncestorLSN)
	}
	return nil
}

// collect asks the timeline's own layers, newest to oldest, for what c lacks at or below lsn.
func (t *Timeline) collect(ctx context.Context, c *layer.Collector, lsn page.LSN) error {
	v := t.view.Load()
	visits := int64(0)
	defer func() { t.env.counters.layerVisits.Add(visits) }()
	mem := func(m *layer.Mem, start page.LSN) error {
		if start > lsn || m.Len() == 0 {
			return nil
		}
		open := c.Open()
		if open.Empty() {
			return nil
		}
		visits++
		return m.Collect(ctx, c, open, page.LSNRange{Start: start, End: lsn + 1})
	}
	if err := mem(v.open, v.start); err != nil {
		return err
	}
	for _, f := range slices.Backward(v.frozen) {
		if err := mem(f.mem, f.lsns.Start); err != nil {
			return err
		}
	}
	for visit := range v.layers.Visits(c, lsn+1) {
		visits++
		o, err := t.env.files.acquire(ctx, t.dir, t.id, visit.Desc)
		if err != nil {
			return err
		}
		err = o.reader.Collect(ctx, c, visit.Keys, visit.LSNs)
		t.env.files.release(o)
		if err != nil {
			return layerError(err)
		}
	}
	return nil
}
