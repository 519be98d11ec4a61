package timeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// clogKeys are those of the pages of the commit log.
var clogKeys = page.Range{Start: page.Clog.Block(0, 0), End: page.Clog.Block(math.MaxUint32, math.MaxUint32)}

// commitMemory is what a search for a commit may take.
const commitMemory = 8 << 20

// commitAfter finds the first commit in (from, to] whose time is later. Its record's start is not known.
func (t *Timeline) commitAfter(ctx context.Context, after int64, from, to page.LSN) (datadir.LaterEnd, error) {
	if t.DiskConsistentLSN() < to {
		if t.env.ReadOnly {
			to = t.DiskConsistentLSN() // there is nothing above
		} else if err := t.Flush(ctx); err != nil {
			return datadir.LaterEnd{}, err
		}
	}
	s := commitSearch{t: t, after: after, from: from, best: page.MaxLSN}
	err := s.run(ctx, to)
	found := datadir.LaterEnd{Found: s.best != page.MaxLSN, Earlier: s.seen}
	if found.Found {
		found.Record.End, found.Micros = s.best, s.time
	}
	return found, err
}

// commitSearch looks for the first commit above an LSN whose time is later than after. It goes through layer files: a page
// of the commit log tells the last commit on it alone, its versions tell each.
type commitSearch struct {
	t     *Timeline
	after int64
	from  page.LSN
	best  page.LSN // found so far
	time  int64    // of best
	seen  bool     // any commit
}

func (s *commitSearch) run(ctx context.Context, to page.LSN) error {
	v, err := s.t.pinView()
	if err != nil {
		return err
	}
	defer v.release()
	end := to + 1
	for keys := clogKeys; !keys.Empty(); {
		// Commits are no later in the log than what was found are in few layers.
		if s.best < end {
			end = s.best
		}
		var readers []*layer.Reader
		for d := range v.layers.Overlapping(keys, page.LSNRange{Start: s.from + 1, End: end}) {
			if d.Image {
				continue
			}
			r, err := s.t.files.reader(ctx, &d)
			if err != nil {
				return err
			}
			readers = append(readers, r)
		}
		if keys.Start, err = s.scan(ctx, readers, keys, end); err != nil {
			return err
		}
	}
	return nil
}

// scan goes through keys until one has an entry at end or above, and gives the key behind that.
func (s *commitSearch) scan(ctx context.Context, readers []*layer.Reader, keys page.Range, end page.LSN) (page.Key, error) {
	if len(readers) == 0 {
		return keys.End, nil
	}
	m, err := layer.OpenMerge(ctx, readers, layer.MergeOptions{Keys: keys, Memory: commitMemory, Budget: s.t.env.Shares.Jobs})
	if err != nil {
		return keys.End, err
	}
	defer m.Close()
	for {
		e, ok, err := m.Next(ctx)
		if err != nil || !ok {
			return keys.End, layerError(err)
		}
		if _, _, _, block := e.Key.SLRUBlock(); !block || e.LSN <= s.from {
			continue
		}
		if e.LSN >= end || e.LSN >= s.best {
			return e.Key.Next(), nil
		}
		stamp, later, err := s.look(ctx, &e)
		if err != nil {
			return keys.End, err
		}
		if later {
			s.best, s.time = e.LSN, stamp
			return e.Key.Next(), nil
		}
	}
}

// look reports whether an entry is a commit of a later time, and that time.
func (s *commitSearch) look(ctx context.Context, e *layer.Merged) (stamp int64, later bool, err error) {
	v, err := page.DecodeValue(e.Value)
	if err != nil {
		return 0, false, fmt.Errorf("%w: %s at LSN %s: %w", ErrCorrupt, e.Key.Describe(), e.LSN, err)
	}
	switch v.Kind {
	case page.KindClogCommitted:
		s.seen = true
		return v.Timestamp, v.Timestamp > s.after, nil
	case page.KindImage:
		// It may stand for a commit at its LSN. If not, its time is that of a commit which was seen, or of one at or below from.
		stamp, ok := stampOf(v.Bytes)
		if !ok {
			return 0, false, nil
		}
		s.seen = true
		if stamp <= s.after {
			return 0, false, nil
		}
		below, known, err := s.t.commitTime(ctx, e.Key, s.from)
		return stamp, !known || below != stamp, err
	}
	return 0, false, nil
}

// stampOf gives the time behind a page of the commit log: that of the last commit on it.
func stampOf(b []byte) (int64, bool) {
	if len(b) != pg.BlockSize+8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(b[pg.BlockSize:])), true
}

// commitTime gives the time of the last commit on a page as of an LSN.
func (t *Timeline) commitTime(ctx context.Context, k page.Key, lsn page.LSN) (int64, bool, error) {
	b, err := t.Get(ctx, k, lsn)
	if errors.Is(err, page.ErrNotFound) {
		return 0, false, nil
	}
	stamp, ok := stampOf(b)
	return stamp, ok, err
}

// lastCommit gives the latest time that any page of the commit log has as of an LSN.
func (t *Timeline) lastCommit(ctx context.Context, lsn page.LSN) (latest int64, known bool, err error) {
	l, err := t.pinToRead(lsn)
	if err != nil {
		return 0, false, err
	}
	defer l.release()
	err = l.getVectored(ctx, page.NewSet(clogKeys), lsn, func(k page.Key, v []byte, err error) error {
		if stamp, ok := stampOf(v); ok && err == nil && (!known || stamp > latest) {
			latest, known = stamp, true
		}
		return err
	})
	return latest, known, err
}
