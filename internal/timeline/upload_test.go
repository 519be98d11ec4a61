package timeline

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// TestRemoteAlone: what was uploaded is the timeline, on an empty disk and with a higher generation; nothing is left over.
func TestRemoteAlone(t *testing.T) {
	store, p := memstore.New(), &past{}
	a := newUploader(t, store, 1, p)
	for range 3 {
		require.NoError(t, a.work())
	}
	a.settle()
	require.Equal(t, a.tl.DiskConsistentLSN(), a.tl.RemoteConsistentLSN())
	require.True(t, a.tl.UploadStatus().Idle())
	requireNoLeak(t, store, 1)
	m := a.env.Metrics().Uploads
	require.Positive(t, m.Deletions.Deleted)
	require.Zero(t, m.Deletions.Pending)
	require.Zero(t, m.Owed)
	a.close()

	b := newUploader(t, store, 2, p)
	b.sameAll(p.last)
	require.NoError(t, b.work())
	b.settle()
	b.sameAll(p.last)
	requireNoLeak(t, store, 2)
	info, was := b.tl.Info(), a.tl.Meta()
	require.Equal(t, was, b.tl.Meta())
	require.Equal(t, p.last, info.DiskConsistentLSN)
	b.close()
}

// TestReopen: what was durable and not uploaded when a process ended is uploaded by the next; a layer that is there is not.
func TestReopen(t *testing.T) {
	store, p := memstore.New(), &past{}
	a := newUploader(t, store, 1, p)
	require.NoError(t, a.work())
	a.settle()
	a.faults.Set(&faultstore.Fault{Op: faultstore.Put, Nth: 1, Sticky: true})
	require.NoError(t, errors.Join(a.put(), a.tl.Flush(t.Context())))
	durable := a.tl.DiskConsistentLSN()
	a.kill()
	require.NoError(t, a.start())
	require.NoError(t, a.tl.WaitUploads(t.Context()))
	require.Equal(t, durable, a.tl.RemoteConsistentLSN())
	require.EqualValues(t, 1, a.env.Metrics().Uploads.Layers)
	a.close()
	// An index that is as it should be is not written again, but for one of a new generation.
	require.NoError(t, a.start())
	require.NoError(t, a.tl.WaitUploads(t.Context()))
	require.Zero(t, a.env.Metrics().Uploads.Layers)
	a.close()
	b := newUploader(t, store, 2, p)
	b.sameAll(durable)
	b.close()
}

// TestMovedKeysAreAdopted: of which keys layers need not be asked any more is said by the index too, and by nothing that is gone.
func TestMovedKeysAreAdopted(t *testing.T) {
	store, p := memstore.New(), &past{}
	a := newUploader(t, store, 1, p)
	require.NoError(t, errors.Join(a.put(), a.tl.Flush(t.Context()), a.put(), a.tl.Flush(t.Context())))
	require.NoError(t, a.tl.WaitUploads(t.Context()))
	part, _, err := upload.Load(t.Context(), store, uploadPlace, 1)
	require.NoError(t, err)
	ds := part.Descs()
	require.Len(t, ds, 2)
	keys := []page.Range{{Start: blockKey(1), End: blockKey(3)}, {Start: blockKey(5), End: blockKey(6)}}
	gone := ds[0]
	gone.LSNs.Start -= 8
	part.Origin.Moved = map[string][]page.Range{ds[1].Name(): keys, gone.Name(): keys}
	s, err := (&Adoption{Tenant: uploadTenant, ID: uploadTimeline, Name: "main", Index: part}).state()
	require.NoError(t, err)
	bare := ds[1]
	bare.Size = 0
	require.Equal(t, []manifest.Moved{{Layer: bare, Keys: keys}}, s.Moved)
	part.Origin.Moved["nothing"] = keys
	_, err = (&Adoption{Tenant: uploadTenant, ID: uploadTimeline, Name: "main", Index: part}).state()
	require.ErrorContains(t, err, "moved keys")
	a.close()
}

// TestOldCopy: a disk that is behind the remote must not overwrite it.
func TestOldCopy(t *testing.T) {
	store, p := memstore.New(), &past{}
	a := newUploader(t, store, 1, p)
	require.NoError(t, a.work())
	a.settle()
	old := a.fs.(*virtualfile.MemFS).CrashClone(1)
	require.NoError(t, a.work())
	a.settle()
	before := objects(t, store)
	a.close()
	a.fs = old
	require.NoError(t, a.start())
	require.ErrorIs(t, a.tl.WaitUploads(t.Context()), upload.ErrStale)
	require.NoError(t, a.put())
	require.NoError(t, a.tl.Flush(t.Context()))
	require.Equal(t, before, objects(t, store))
	require.True(t, a.tl.UploadStatus().Stale)
	require.Zero(t, a.tl.RemoteConsistentLSN())
	a.close()
}

// TestTwoWriters: once another has attached, the first one's reports stand still, it deletes nothing, and what it writes is not seen.
func TestTwoWriters(t *testing.T) {
	store := memstore.New()
	leases := upload.Leases{Remote: store}
	g, err := leases.Acquire(t.Context(), uploadPlace, 0)
	require.NoError(t, err)
	a := newUploader(t, store, g, &past{})
	require.NoError(t, a.work())
	a.settle()
	said, deleted := a.tl.RemoteConsistentLSN(), a.env.Deletions().Counts().Deleted

	g, err = leases.Acquire(t.Context(), uploadPlace, 0)
	require.NoError(t, err)
	ofB := a.past.clone()
	b := newUploader(t, store, g, ofB)
	require.NoError(t, b.tl.WaitUploads(t.Context()))
	named := objects(t, store)
	require.NoError(t, a.work())
	require.ErrorIs(t, a.tl.WaitUploads(t.Context()), upload.ErrStale)
	require.Equal(t, said, a.tl.RemoteConsistentLSN())
	require.NoError(t, a.env.Deletions().Flush(t.Context()))
	require.Equal(t, deleted, a.env.Deletions().Counts().Deleted)
	require.Subset(t, objects(t, store), slices.DeleteFunc(named, func(s string) bool { return strings.HasPrefix(s, "index_part") }))
	b.sameAll(said)
	require.NoError(t, b.work())
	b.settle()
	b.sameAll(ofB.last)
	a.sameAll(a.past.last) // from its own disk
	a.close()
	// What the first one left goes when the next opens.
	b.close()
	require.NoError(t, b.start())
	b.settle()
	requireNoLeak(t, store, g)
	b.sameAll(ofB.last)
	b.close()
}

// TestReplacedMeanwhile: a disk whose timeline another writer has had since is not to be gone on with, whatever generation it gets.
func TestReplacedMeanwhile(t *testing.T) {
	store, p := memstore.New(), &past{}
	a := newUploader(t, store, 1, p)
	require.NoError(t, a.work())
	a.settle()
	a.close()
	b := newUploader(t, store, 2, p.clone())
	require.NoError(t, b.work())
	b.settle()
	b.close()
	before := objects(t, store)
	a.generation = 3
	for range 2 { // the second start must not have forgotten
		require.NoError(t, a.start())
		require.ErrorIs(t, a.tl.WaitUploads(t.Context()), upload.ErrStale)
		require.Equal(t, before, objects(t, store))
		a.close()
	}
}
