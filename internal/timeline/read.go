package timeline

import (
	"context"
	"fmt"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// windowBytes bounds what one step of a read holds, slots for the pages to be rebuilt included; one key's
// chain may be longer.
const windowBytes = 8 << 20

// Get gives the value of key as of lsn: a page, or what a directory-like key holds. The caller owns it. The
// error wraps page.ErrNotFound if the key has no version there, and then names the layers that were asked.
func (t *Timeline) Get(ctx context.Context, key page.Key, lsn page.LSN) ([]byte, error) {
	l, err := t.beginRead(lsn)
	if err != nil {
		return nil, err
	}
	defer l.release()
	watch := &t.env.pace.reads
	defer watch.end(watch.begin(true))
	return l.get(ctx, key, lsn)
}

// GetVectored calls fn in ascending key order for every key of keys that has a version at lsn, with its
// value, which is valid during the call only, or with the reason why this one cannot be rebuilt. Keys
// without a version are left out. It ends with the first error that fn returns. However many keys there are,
// memory stays bounded. fn runs on the caller's goroutine, what comes before it on as many as there are
// processors.
func (t *Timeline) GetVectored(ctx context.Context, keys page.Set, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error {
	l, err := t.beginRead(lsn)
	if err != nil {
		return err
	}
	defer l.release()
	watch := &t.env.pace.reads
	defer watch.end(watch.begin(few(keys)))
	return l.getVectored(ctx, keys, lsn, fn)
}

// beginRead pins what a read at lsn sees, and counts it.
func (t *Timeline) beginRead(lsn page.LSN) (*lineage, error) {
	l, err := t.pinToRead(lsn)
	if err == nil {
		t.env.counters.reads.Add(1)
	}
	return l, err
}

// pinToRead pins what a read at lsn sees, unless it is refused.
func (t *Timeline) pinToRead(lsn page.LSN) (*lineage, error) {
	if err := t.checkLSN(lsn); err != nil {
		return nil, err
	}
	l, err := t.pin(lsn)
	if err != nil {
		return nil, err
	}
	if err := t.checkKept(lsn); err != nil { // again: see there
		l.release()
		return nil, err
	}
	return l, nil
}

func (l *lineage) get(ctx context.Context, key page.Key, lsn page.LSN) ([]byte, error) {
	if err := l.timeline().checkShard(key); err != nil {
		return nil, err
	}
	var image []byte
	done, err := l.readImage(ctx, key, lsn, func(_ page.Key, v []byte, _ error) error {
		image = append(make([]byte, 0, len(v)), v...)
		return nil
	})
	if err != nil {
		return nil, err
	} else if done {
		return image, nil
	}
	w := newWindow(l)
	defer w.release()
	if err := w.read(ctx, page.SetOfKeys(key), !page.NotInherited.Contains(key), lsn, 1); err != nil {
		return nil, err
	}
	w.trace(ctx)
	if len(w.ch.results) > 0 && !w.ch.results[0].gone() {
		r := &w.ch.results[0]
		l.timeline().env.counters.readKeys.Add(1)
		if r.err != nil {
			return nil, r.err
		}
		return append(make([]byte, 0, len(r.value)), r.value...), nil
	}
	var path layer.Trace
	w.c.Trace(&path)
	return nil, fmt.Errorf("timeline %s: %s at LSN %s: %w; asked were:\n%s", l.timeline().meta.Name, key.Describe(), lsn, page.ErrNotFound, &path)
}

func (l *lineage) getVectored(ctx context.Context, keys page.Set, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error {
	if !l.timeline().meta.Shard.Alone() {
		var err error
		if keys, fn, err = l.timeline().ofShard(keys, fn); err != nil {
			return err
		}
	}
	if one, k := keys.Single(); one {
		if done, err := l.readImage(ctx, k, lsn, fn); done {
			return err
		}
		return l.readSteps(ctx, keys, !page.NotInherited.Contains(k), lsn, fn)
	}
	if l.descents[0].joint() == 0 || !keys.Overlaps(page.NotInherited) {
		return l.readPart(ctx, part{keys, true}, lsn, fn)
	}
	for _, p := range parts(keys) {
		if err := l.readPart(ctx, p, lsn, fn); err != nil {
			return err
		}
	}
	return nil
}

// timeline is the one that is read.
func (l *lineage) timeline() *Timeline { return l.views[0].t }

// checkLSN says why a read at lsn is impossible.
func (t *Timeline) checkLSN(lsn page.LSN) error {
	if t.closed.Load() {
		return t.closedError()
	}
	if last := t.LastRecordLSN(); lsn > last {
		return fmt.Errorf("%w: LSN %s of timeline %s, which ends at %s; ingest more WAL, or ask for an LSN up to that",
			ErrFutureLSN, lsn, t.meta.Name, last)
	}
	return t.checkKept(lsn)
}

func (t *Timeline) closedError() error {
	return fmt.Errorf("timeline %s: %w", t.meta.Name, ErrClosed)
}

// part is a set of keys that are all inherited by branches, or all not.
type part struct {
	keys      page.Set
	inherited bool
}

// parts splits keys, in order, at the bounds of what branches inherit.
func parts(keys page.Set) []part {
	return []part{
		{keys.Intersect(page.Range{Start: page.MinKey, End: page.NotInherited.Start}), true},
		{keys.Intersect(page.NotInherited), false},
		{keys.Intersect(page.Range{Start: page.NotInherited.End, End: page.MaxKey}), true},
	}
}
