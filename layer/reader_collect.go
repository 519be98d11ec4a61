package layer

import (
	"context"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/page"
)

// Collect notes in c where the layer holds values of keys within lsns, per key from the newest down to the
// first that initializes, for c's Fetch to read. It reads nothing but the index. An image layer whose LSN
// lies in lsns settles all of keys that are in its range. The Reader must stay open until c's Release.
func (r *Reader) Collect(ctx context.Context, c *Collector, keys page.Set, lsns page.LSNRange) (err error) {
	if !lsns.Overlaps(r.desc.LSNs) {
		return nil
	}
	one, k := keys.Single()
	if !one {
		keys = keys.Intersect(r.desc.Keys)
	}
	if keys.Empty() || one && !r.desc.Keys.Contains(k) {
		return nil
	}
	c.visit(visited{desc: &r.desc, lsns: lsns})
	s := &c.gathered.scan
	s.c = c
	s.entries.init(r, s)
	defer s.release()
	if one {
		err = s.key(ctx, k, lsns)
	} else {
		err = s.ranges(ctx, keys.Ranges(), lsns)
	}
	if err != nil || !r.desc.Image {
		return err
	}
	for _, kr := range keys.Ranges() {
		c.Settle(kr)
	}
	return nil
}

// layerScan searches a layer's index on behalf of a Collector, with which it is pooled.
type layerScan struct {
	c       *Collector
	entries entryScanner
	list    []entry // of the present key, oldest first
}

func (s *layerScan) release() {
	s.entries.release()
	s.c = nil
}

// ranges notes the values of some ranges of keys.
func (s *layerScan) ranges(ctx context.Context, ranges []page.Range, lsns page.LSNRange) (err error) {
	for _, kr := range ranges {
		if kr.Start.Next() == kr.End {
			err = s.key(ctx, kr.Start, lsns)
		} else {
			err = s.across(ctx, kr, lsns)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// key notes the values of one key.
func (s *layerScan) key(ctx context.Context, k page.Key, lsns page.LSNRange) error {
	if s.entries.r.desc.Image {
		return s.at(ctx, k)
	}
	return s.down(ctx, k, lsns)
}

// block implements blockReader with the blocks of the cache, and counts them.
func (s *layerScan) block(ctx context.Context, n uint32) ([]byte, cache.Pin, error) {
	if err := ctx.Err(); err != nil {
		return nil, cache.Pin{}, err
	}
	pin, loaded, err := s.entries.r.indexBlock(ctx, n, s.c)
	if err != nil {
		return nil, cache.Pin{}, err
	}
	s.c.path.indexBlocks++
	if loaded {
		s.c.path.indexLoads++
	}
	return pin.Bytes(), pin, nil
}

func (s *layerScan) corrupt(n uint32, format string, args ...any) error {
	return s.entries.r.corrupt(n, format, args...)
}

// atSlowly is at with a cursor.
func (s *layerScan) atSlowly(ctx context.Context, k page.Key) error {
	if err := s.entries.seek(ctx, k, 0); err != nil {
		return err
	}
	if !s.entries.hasNext || s.entries.ahead.key != k {
		return nil
	}
	e, _, err := s.entries.next(ctx)
	if err == nil {
		s.add(&e)
	}
	return err
}

// downSlowly is down with a cursor.
func (s *layerScan) downSlowly(ctx context.Context, k page.Key, lsns page.LSNRange) error {
	if err := s.entries.seekEnd(ctx, k, lsns.End); err != nil {
		return err
	}
	for {
		e, ok, err := s.entries.prev(ctx)
		if err != nil || !ok || e.key != k || e.lsn < lsns.Start {
			return err
		}
		s.add(&e)
		if e.willInit {
			return nil
		}
	}
}

// across notes the values of a range of keys. Of one key, what is older than an initializing value is left
// out.
func (s *layerScan) across(ctx context.Context, keys page.Range, lsns page.LSNRange) error {
	s.list = s.list[:0]
	if err := s.entries.seek(ctx, keys.Start, lsns.Start); err != nil {
		return err
	}
	for {
		e, ok, err := s.entries.next(ctx)
		if err != nil {
			return err
		}
		if len(s.list) > 0 && (!ok || e.key != s.list[0].key) {
			s.flush()
		}
		if !ok || !e.key.Less(keys.End) || s.c.beyond(e.key) {
			return nil
		}
		switch {
		case e.lsn < lsns.Start:
			err = s.entries.seek(ctx, e.key, lsns.Start)
		case e.lsn >= lsns.End:
			err = s.entries.seek(ctx, e.key.Next(), lsns.Start)
		default:
			if e.willInit {
				s.list = s.list[:0]
			}
			s.list = append(s.list, e)
		}
		if err != nil {
			return err
		}
	}
}

// flush hands over the present key's values, newest first.
func (s *layerScan) flush() {
	for i := len(s.list) - 1; i >= 0; i-- {
		s.add(&s.list[i])
	}
	s.list = s.list[:0]
}

func (s *layerScan) add(e *entry) {
	s.c.addPending(e.key, e.lsn, s.entries.r.desc.Image, e.willInit, s.entries.r, e.start, e.end)
}
