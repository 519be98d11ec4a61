package ingest

import (
	"context"
	"io"
	"iter"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/ingest/source"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/memstore"
)

// bigObjects is an object store whose objects named big are large and hold zeros, which nobody has in memory.
type bigObjects struct {
	remote.Storage
	big    string
	size   int64
	gets   atomic.Int64 // of big ones
	asked  atomic.Int64 // bytes
	longer atomic.Int64 // the longest range
}

func (s *bigObjects) of(o remote.Object) remote.Object {
	if strings.HasSuffix(o.Key, s.big) {
		o.Size = s.size
	}
	return o
}

func (s *bigObjects) List(ctx context.Context, prefix string, o remote.ListOptions) iter.Seq2[remote.Entry, error] {
	return func(yield func(remote.Entry, error) bool) {
		for e, err := range s.Storage.List(ctx, prefix, o) {
			if e.Object = s.of(e.Object); !yield(e, err) {
				return
			}
		}
	}
}

func (s *bigObjects) Head(ctx context.Context, key string) (remote.Object, error) {
	o, err := s.Storage.Head(ctx, key)
	return s.of(o), err
}

func (s *bigObjects) Get(ctx context.Context, key string, o remote.GetOptions) (*remote.Download, error) {
	if !strings.HasSuffix(key, s.big) {
		return s.Storage.Get(ctx, key, o)
	}
	head, err := s.Head(ctx, key)
	s.gets.Add(1)
	s.asked.Add(o.Length)
	for was := s.longer.Load(); o.Length > was && !s.longer.CompareAndSwap(was, o.Length); was = s.longer.Load() {
	}
	return &remote.Download{Body: io.NopCloser(io.LimitReader(zeros{}, o.Length)), Object: head, Offset: o.Offset, Length: o.Length}, err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestMemoryOfAnImport: of an object as large as may be a job asks for ranges of a chunk each, as many as it has room for, and for no
// further one before what it has was taken.
func TestMemoryOfAnImport(t *testing.T) {
	dir := smallDataDir(t)
	const name = "base/5/77777"
	putFile(t, dir, name, string(make([]byte, pg.BlockSize)))
	plain := memstore.New()
	copyTo(t, plain, "cluster/", dir)
	store := &bigObjects{Storage: plain, big: name, size: int64(testkit.Size(8, 32, 1024)) << 20}
	d, err := Open(t.Context(), source.Objects(store, "cluster", "objects"), nil)
	require.NoError(t, err)
	p, err := d.Plan(t.Context(), 0)
	require.NoError(t, err)
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 77777}
	const chunkBytes = chunkBlocks * pg.BlockSize
	taken := int64(0)
	stats, err := p.Run(t.Context(), 0, sinkFunc(func(k page.Key, v []byte) {
		tag, block, ok := k.RelBlock()
		if !ok || tag != rel {
			return
		}
		if block%chunkBlocks == 0 {
			// All that may be asked for is, and more is not.
			for store.asked.Load() < min(taken/chunkBytes*chunkBytes+JobBytes, store.size) {
				runtime.Gosched()
			}
			for range 1000 {
				runtime.Gosched()
			}
		}
		if ahead := store.asked.Load() - taken; ahead > JobBytes {
			t.Errorf("block %d: %d bytes are in memory, %d should be", block, ahead, JobBytes)
		}
		taken += int64(len(v))
	}), nil)
	require.NoError(t, err)
	require.Equal(t, store.size, taken)
	require.Equal(t, store.size, store.asked.Load(), "nothing is read twice")
	require.EqualValues(t, chunkBytes, store.longer.Load())
	require.Equal(t, store.size/chunkBytes, store.gets.Load())
	require.Greater(t, stats.Bytes, store.size)
}
