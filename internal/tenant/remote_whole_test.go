package tenant

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/virtualfile"
)

// changed is a storage that changes what it says of layers.
type changed struct {
	remote.Storage
	change func(o *remote.Object)
}

func (s *changed) Get(ctx context.Context, key string, o remote.GetOptions) (*remote.Download, error) {
	d, err := s.Storage.Get(ctx, key, o)
	if err != nil || !strings.Contains(key, "__") {
		return d, err
	}
	out := *d
	s.change(&out.Object)
	return &out, nil
}

// TestObjectOfAnotherSize: an object that is longer or shorter than the index says is no layer, even if what is read of it has the right
// checksum.
func TestObjectOfAnotherSize(t *testing.T) {
	for _, by := range []int64{8192, -8192} {
		_, tl, _, fs := attached(t, 1, func(o *Options) {
			o.Config.Remote = &changed{o.Config.Remote, func(o *remote.Object) { o.Size += by }}
		})
		_, err := tl.Get(t.Context(), remoteKey(1), tl.LastRecordLSN())
		require.ErrorIs(t, err, timeline.ErrCorrupt)
		require.ErrorContains(t, err, "the index says")
		here, temp := layerFiles(t, fs, tl)
		require.Empty(t, here)
		require.Empty(t, temp)
	}
}

// TestReplacedOnTheWay: a download that is gone on with where it was, and finds another object there, begins again.
func TestReplacedOnTheWay(t *testing.T) {
	s := &silent{}
	s.left.Store(1)
	gets := 0
	_, tl, _, _ := attached(t, 1, func(o *Options) {
		s.Storage = &changed{o.Config.Remote, func(o *remote.Object) {
			if gets++; gets > 1 {
				o.ETag = "another"
			}
		}}
		o.Config.Remote = s
		o.Config.Download.Stall = 500 * time.Millisecond // what a busy machine is not late by
	})
	requirePage(t, t.Context(), tl, 1, tl.LastRecordLSN(), firstLSN+8)
	require.Equal(t, []int64{0, 1000, 0}, s.from)
}

// TestFetchedLayersAreDurable: a layer that has its name is whole, whatever a power cut takes away.
func TestFetchedLayersAreDurable(t *testing.T) {
	_, tl, _, fs := attached(t, 2, nil)
	require.NoError(t, tl.Download(t.Context(), nil))
	dir := filepath.Join("store", "tenants", remoteTenant.String(), "timelines", tl.ID().String())
	for d := dir; d != "."; d = filepath.Dir(d) {
		require.NoError(t, fs.SyncDir(d))
	}
	require.NoError(t, fs.SyncDir(""))
	names, _ := layerFiles(t, fs, tl)
	require.Len(t, names, 2)
	for seed := range uint64(20) {
		clone := fs.CrashClone(seed)
		for _, name := range names {
			want, err := virtualfile.ReadFile(fs, filepath.Join(dir, name), 1<<20)
			require.NoError(t, err)
			got, err := virtualfile.ReadFile(clone, filepath.Join(dir, name), 1<<20)
			if errors.Is(err, os.ErrNotExist) {
				continue // it is fetched again
			}
			require.NoError(t, err)
			require.True(t, string(want) == string(got), name)
		}
	}
}
