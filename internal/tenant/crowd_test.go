package tenant

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// TestManyLayersFewDescriptors: a store of many layers, 2,000 in the long form, is opened, read by many at once and written to, all
// under a limit of 64 descriptors, which is never exceeded.
func TestManyLayersFewDescriptors(t *testing.T) {
	noLeaks(t)
	const limit, readers = 64, 8
	layers := testkit.Size(400, 800, 2000)
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
	value := func(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)) }
	ctx := context.Background()
	o := testOptions(virtualfile.NewOS())
	o.Dir = filepath.Join(t.TempDir(), "store")
	o.Config.MaxOpenFiles, o.Config.CheckpointDistance = limit, 1<<20
	s, err := Open(ctx, o)
	require.NoError(t, err)
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	_, err = importAll(ctx, tn, meta("many"), 0, 1, layer.Compression{}, func(ctx context.Context, sink *timeline.ImageSink) error {
		for i := range layers {
			if err := sink.PutImage(ctx, rel.Block(uint32(i)), value(i)); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	for _, engine := range []virtualfile.EngineKind{virtualfile.EngineStd, virtualfile.EngineURing} {
		t.Run(engine.String(), func(t *testing.T) {
			o.Config.IOEngine = engine
			s, err := Open(ctx, o)
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()
			tn, err := s.DefaultTenant()
			require.NoError(t, err)
			tl, err := tn.Timeline("many")
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(tl.Layers()), layers)
			held := func() error {
				if m := s.Metrics().Disk; m.Descriptors > limit {
					return fmt.Errorf("%d descriptors are open, at most %d may be", m.Descriptors, limit)
				}
				return nil
			}
			var wg sync.WaitGroup
			errs := make(chan error, readers)
			var done atomic.Int64
			for r := range readers {
				wg.Go(func() {
					errs <- readAtRandom(ctx, tl, rel, layers, value, held, uint64(r))
					done.Add(1)
				})
			}
			for range 100 {
				lsn := tl.LastRecordLSN() + 8
				require.NoError(t, putImage(tl, rel.Block(uint32(layers)), lsn, value(int(lsn))))
				require.NoError(t, tl.Flush(ctx))
				if done.Load() == readers {
					break
				}
			}
			wg.Wait()
			for range readers {
				require.NoError(t, <-errs)
			}
			require.Positive(t, s.Metrics().Disk.Reopens, "the limit was felt")
		})
	}
}

// readAtRandom reads single blocks and long runs of blocks, each of a layer of its own.
func readAtRandom(ctx context.Context, tl *timeline.Timeline, rel page.RelTag, blocks int, value func(int) []byte, held func() error, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 5 {
		i := rnd.IntN(blocks)
		v, err := tl.Get(ctx, rel.Block(uint32(i)), firstLSN)
		if err != nil || string(v) != string(value(i)) {
			return fmt.Errorf("block %d: %x, %w", i, v, err)
		}
		from := rnd.IntN(blocks - 300)
		next := from
		keys := page.NewSet(page.Range{Start: rel.Block(uint32(from)), End: rel.Block(uint32(from + 300))})
		err = tl.GetVectored(ctx, keys, firstLSN, func(k page.Key, v []byte, err error) error {
			if err != nil || k != rel.Block(uint32(next)) || string(v) != string(value(next)) {
				return fmt.Errorf("block %d: %s is %x: %w", next, k, v, err)
			}
			next++
			return nil
		})
		if err == nil && next != from+300 {
			err = fmt.Errorf("blocks from %d on end at %d", from, next)
		}
		if err == nil {
			err = held()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
