package tenant

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// withUnknown has the newest index of a timeline say what no version knows yet, of itself and of each layer.
func withUnknown(t *testing.T, store remote.Storage, place upload.Place) (layers int) {
	part, generation, err := upload.Load(t.Context(), store, place, 1000)
	require.NoError(t, err)
	b, err := part.Encode()
	require.NoError(t, err)
	var index map[string]any
	require.NoError(t, json.Unmarshal(b, &index))
	index["of_later"] = map[string]any{"a": []int{1, 2}}
	for _, l := range index["layer_metadata"].(map[string]any) {
		l.(map[string]any)["of_later"] = "kept"
		layers++
	}
	b, err = json.Marshal(index)
	require.NoError(t, err)
	_, err = store.Put(t.Context(), place.IndexKey(generation), bytes.NewReader(b), int64(len(b)), remote.PutOptions{})
	require.NoError(t, err)
	return layers
}

// requireUnknown demands that the newest index still says it, of those layers and of no others.
func requireUnknown(t *testing.T, store remote.Storage, place upload.Place, of, layers int) {
	part, _, err := upload.Load(t.Context(), store, place, 1000)
	require.NoError(t, err)
	require.JSONEq(t, `{"a":[1,2]}`, string(part.Rest["of_later"]))
	require.Equal(t, layers, part.Layers.Len())
	for l := range part.Layers.All() {
		if l.Rest != "" {
			require.Contains(t, l.Rest, `"of_later":"kept"`)
			of--
		}
	}
	require.Zero(t, of, "layers of which nothing is said any more")
}

// TestWhatAnIndexSaysIsKept: what a later version, or Neon, notes in an index goes through an attach, uploads and restarts.
func TestWhatAnIndexSaysIsKept(t *testing.T) {
	store, fs := memstore.New(), virtualfile.NewMem()
	s, err := Open(t.Context(), remoteOptions(virtualfile.NewMem(), store))
	require.NoError(t, err)
	place := upload.Place{Tenant: remoteTenant, Timeline: fill(t, s, 3).ID()}
	require.NoError(t, s.Close())
	of := withUnknown(t, store, place)
	require.Equal(t, 3, of)

	s, err = Open(t.Context(), remoteOptions(fs, store))
	require.NoError(t, err)
	_, tls, err := s.Attach(t.Context(), AttachOptions{Tenant: remoteTenant})
	require.NoError(t, err)
	putOne(t.Context(), t, tls[0])
	requireUnknown(t, store, place, of, 4)
	require.NoError(t, s.Close())

	for restart := range 2 {
		s, err = Open(t.Context(), remoteOptions(fs, store))
		require.NoError(t, err)
		tn, err := s.Tenant(remoteTenant)
		require.NoError(t, err)
		tl, err := tn.Timeline("main")
		require.NoError(t, err, fmt.Sprint(restart))
		putOne(t.Context(), t, tl)
		requireUnknown(t, store, place, of, 5+restart)
		require.NoError(t, s.Close())
	}
}

// putOne puts a page, and has it uploaded.
func putOne(ctx context.Context, t *testing.T, tl *timeline.Timeline) {
	lsn := tl.LastRecordLSN() + 8
	var b page.Batch
	b.PutImage(remoteKey(1), lsn, remotePage(1, lsn))
	b.End, b.Prev = lsn, tl.LastRecordLSN()
	require.NoError(t, tl.Put(ctx, &b))
	require.NoError(t, tl.Flush(ctx))
	require.NoError(t, tl.WaitUploads(ctx))
}
