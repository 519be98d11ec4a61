package datadir

import (
	"context"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// SLRUSegment gives the pages of a segment, one behind the other, as a file of pg_xact, pg_multixact or pg_commit_ts has
// them: at most 256 KiB.
func (s *Snapshot) SLRUSegment(ctx context.Context, kind page.SLRU, segment uint32) ([]byte, error) {
	n, err := s.SLRUSegmentPages(ctx, kind, segment)
	if err != nil {
		return nil, err
	}
	if n > pg.SLRUSegPages {
		return nil, fmt.Errorf("%w: segment %04X of %s at LSN %s has %d pages, more than there can be", ErrCorrupt, segment, kind, s.lsn, n)
	}
	pages, got := make([]byte, int(n)*pg.BlockSize), uint32(0)
	keys := page.NewSet(page.Range{Start: kind.Block(segment, 0), End: kind.Block(segment, n)})
	err = s.r.GetVectored(ctx, keys, s.lsn, func(k page.Key, value []byte, err error) error {
		_, _, block, _ := k.SLRUBlock()
		if err == nil && len(value) < pg.BlockSize { // one of pg_xact may have a time behind it
			err = fmt.Errorf("%w: %d bytes", ErrCorrupt, len(value))
		}
		if err != nil {
			return s.named(k, err)
		}
		got++
		copy(pages[int(block)*pg.BlockSize:], value[:pg.BlockSize])
		return nil
	})
	if err == nil && got != n {
		err = fmt.Errorf("%w: segment %04X of %s at LSN %s has %d pages, of which %d are there", ErrCorrupt, segment, kind, s.lsn, n, got)
	}
	return pages, err
}
