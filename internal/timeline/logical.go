package timeline

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// grown is by how many blocks all relations together have become longer since the timeline was opened, and how many
// batches did not say by how much.
type grown struct {
	blocks  int64
	unknown int64
}

// logicalSize is what the growth of relations is counted from: it is added up once, at the first question, and
// again after a batch that did not say what it changes.
type logicalSize struct {
	asking turn
	base   atomic.Pointer[logicalBase]
}

type logicalBase struct {
	blocks  int64 // when grown.blocks was 0
	unknown int64
}

// LogicalSize is the size of all relations of a cluster, all forks, as of an LSN.
type LogicalSize struct {
	LSN   page.LSN
	Bytes int64
}

// LogicalSize gives the size at the end of the timeline. The first call reads the sizes of all relations; from then on
// ingest keeps it.
func (t *Timeline) LogicalSize(ctx context.Context) (LogicalSize, error) {
	if s, ok := t.KnownLogicalSize(); ok {
		return s, nil
	}
	if err := t.logical.asking.take(ctx); err != nil {
		return LogicalSize{}, err
	}
	defer t.logical.asking.give()
	for {
		if s, ok := t.KnownLogicalSize(); ok {
			return s, nil
		}
		at := t.at.Load()
		sum, err := t.sumBlocks(ctx, at.last)
		if err != nil {
			return LogicalSize{}, fmt.Errorf("timeline %s: logical size at LSN %s: %w", t.meta.Name, at.last, err)
		}
		t.logical.base.Store(&logicalBase{blocks: int64(sum) - at.relations.blocks, unknown: at.relations.unknown})
		if t.at.Load().relations.unknown == at.relations.unknown {
			continue
		}
		return LogicalSize{at.last, int64(sum) * pg.BlockSize}, nil // it is unknown again already
	}
}

// KnownLogicalSize is LogicalSize if nothing has to be read for it.
func (t *Timeline) KnownLogicalSize() (LogicalSize, bool) {
	at, base := t.at.Load(), t.logical.base.Load()
	if base == nil || base.unknown != at.relations.unknown {
		return LogicalSize{}, false
	}
	return LogicalSize{at.last, (base.blocks + at.relations.blocks) * pg.BlockSize}, true
}

// LogicalSizeAt adds the sizes of all relations up as of an LSN, which stays readable meanwhile.
func (t *Timeline) LogicalSizeAt(ctx context.Context, lsn page.LSN) (LogicalSize, error) {
	if s, ok := t.KnownLogicalSize(); ok && s.LSN == lsn {
		return s, nil
	}
	sum, err := t.sumBlocks(ctx, lsn)
	if err != nil {
		return LogicalSize{}, fmt.Errorf("timeline %s: logical size at LSN %s: %w", t.meta.Name, lsn, err)
	}
	return LogicalSize{lsn, int64(sum) * pg.BlockSize}, nil
}

func (t *Timeline) sumBlocks(ctx context.Context, lsn page.LSN) (uint64, error) {
	s, err := t.Snapshot(ctx, lsn)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	return datadir.At(s, lsn, t.meta.Version).TotalBlocks(ctx)
}
