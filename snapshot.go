package strata

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Snapshot sees a timeline as it was when the snapshot was made, at one LSN and below: the same layers for all
// its reads, whatever is flushed, compacted or collected meanwhile. It holds those layers, in memory and on
// disk, until Close; Metrics tells how many snapshots there are, how old, and what is held. All methods may be
// called concurrently.
type Snapshot struct {
	s       *timeline.Snapshot
	version pg.Version
}

var _ datadir.Reader = (*Snapshot)(nil)

// Snapshot pins what reads at lsn and below see. Close must be called. A snapshot that becomes older, or holds
// more, than Options allow ends with ErrSnapshotEnded.
func (tl *Timeline) Snapshot(ctx context.Context, lsn page.LSN) (*Snapshot, error) {
	s, err := tl.t.Snapshot(ctx, lsn)
	if err != nil {
		return nil, err
	}
	return &Snapshot{s, tl.t.Meta().Version}, nil
}

// LSN is the highest that can be read.
func (s *Snapshot) LSN() page.LSN { return s.s.LSN() }

// Get is Timeline.Get at an LSN up to the snapshot's.
func (s *Snapshot) Get(ctx context.Context, key page.Key, lsn page.LSN) ([]byte, error) {
	return s.s.Get(ctx, key, lsn)
}

// GetVectored is Timeline.GetVectored at an LSN up to the snapshot's.
func (s *Snapshot) GetVectored(ctx context.Context, keys page.Set, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error {
	return s.s.GetVectored(ctx, keys, lsn, fn)
}

// Cluster sees the cluster's databases, relations and files as of the snapshot's LSN, which must be one that
// ResolveLSN gives.
func (s *Snapshot) Cluster() *datadir.Snapshot { return datadir.At(s.s, s.LSN(), s.version) }

// Page is Timeline.Page at the snapshot's LSN.
func (s *Snapshot) Page(ctx context.Context, rel page.RelTag, block uint32) ([]byte, error) {
	return readPage(ctx, s, s.Cluster(), rel, block, s.LSN())
}

// Close lets go of the layers. Reads that still run end as if it had not been called. It may be called again.
func (s *Snapshot) Close() { s.s.Close() }

// readPage gives a block of a relation's fork, or says why there is none.
func readPage(ctx context.Context, r datadir.Reader, c *datadir.Snapshot, rel page.RelTag, block uint32, lsn page.LSN) ([]byte, error) {
	size, err := c.RelSize(ctx, rel)
	if err != nil {
		return nil, err
	}
	if block >= size {
		return nil, fmt.Errorf("block %d of relation %s at LSN %s, which has %d blocks: %w", block, rel, lsn, size, ErrNotFound)
	}
	b, err := r.Get(ctx, rel.Block(block), lsn)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%w: block %d of relation %s at LSN %s is missing, though it has %d blocks", ErrCorrupt, block, rel, lsn, size)
	}
	if err == nil && len(b) != pg.BlockSize {
		return nil, fmt.Errorf("%w: block %d of relation %s at LSN %s has %d bytes", ErrCorrupt, block, rel, lsn, len(b))
	}
	return b, err
}

// ReadTrace says what a read did: which layers it asked for which LSNs, and what it read of them.
type ReadTrace = layer.Trace

// WithReadTrace makes the reads under the context add to t what they do. t must not be used by two reads at
// once. It costs next to nothing.
func WithReadTrace(ctx context.Context, t *ReadTrace) context.Context {
	return layer.WithTrace(ctx, t)
}
