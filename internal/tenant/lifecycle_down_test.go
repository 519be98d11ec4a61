package tenant

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// soon gives a context that ends soon, for what cannot succeed.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// TestBegunDeletionIsKnownAfterACrash: remote storage is away while a timeline is to be deleted, and then the process dies. The next one
// knows of the deletion, and ends it by itself.
func TestBegunDeletionIsKnownAfterACrash(t *testing.T) {
	noLeaks(t)
	mem, store := virtualfile.NewMem(), memstore.New()
	faulty := faultstore.New(store, 1)
	o := lifeOptions(mem, faulty)
	o.Config.Upload.CloseTime = time.Millisecond
	s, tn := openLife(t, t.Context(), o)
	_, child, _ := family(t, tn)
	require.NoError(t, child.WaitUploads(t.Context()))
	faulty.Set(&faultstore.Fault{Nth: 1, Sticky: true})
	require.Error(t, tn.Delete(t.Context(), "child"), "it is left to the background")
	require.Equal(t, Deleting, states(tn)["child"])
	left := mem.CrashClone(1)
	_ = s.Close() // remote storage is away
	require.NotEmpty(t, objectsOf(t, store, child.ID()))

	s, tn = openLife(t, t.Context(), lifeOptions(left, store))
	if state, there := states(tn)["child"]; there { // it may have ended already
		require.Equal(t, Deleting, state)
	}
	require.Eventually(t, func() bool { _, there := states(tn)["child"]; return !there }, time.Minute, time.Millisecond)
	require.Empty(t, objectsOf(t, store, child.ID()))
	require.NoError(t, s.Close())
}

// TestNothingLeavesTheDiskAlone: what remote storage has not does not leave the local disk, and can be written to when a detachment has failed.
func TestNothingLeavesTheDiskAlone(t *testing.T) {
	noLeaks(t)
	mem := virtualfile.NewMem()
	faulty := faultstore.New(memstore.New(), 1)
	s, tn := openLife(t, t.Context(), lifeOptions(mem, faulty))
	_, _, other := family(t, tn)
	require.NoError(t, other.WaitUploads(t.Context()))
	faulty.Set(&faultstore.Fault{Nth: 1, Sticky: true})
	grow(t, other, 9)
	require.ErrorIs(t, tn.Detach(soon(t), "other", DetachOptions{}), context.DeadlineExceeded)
	require.Equal(t, Active, states(tn)["other"])
	grow(t, other, 10)
	require.ErrorIs(t, s.DetachTenant(soon(t), tn.ShardID(), DetachOptions{}), context.DeadlineExceeded)
	grow(t, other, 11)
	faulty.Set()

	// What a removal that failed has left is in nobody's way.
	temp := s.tenantDir(tn.ShardID()) + virtualfile.TempSuffix
	require.NoError(t, mem.MkdirAll(temp))
	require.NoError(t, virtualfile.WriteFileAtomic(mem, filepath.Join(temp, "left"), []byte("x")))
	require.NoError(t, s.DetachTenant(t.Context(), tn.ShardID(), DetachOptions{}))
	_, err := mem.Stat(temp)
	require.True(t, isMissing(err))
	tn, _, err = s.Attach(t.Context(), AttachOptions{Tenant: remoteTenant})
	require.NoError(t, err)
	other, err = tn.Timeline("other")
	require.NoError(t, err)
	for _, n := range []uint32{3, 9, 10, 11} {
		hasPage(t, other, n)
	}
	require.NoError(t, s.Close())
}

// TestNothingIsEvictedThatIsOnlyHere: whoever asks for all layers to be evicted gets those that remote storage has.
func TestNothingIsEvictedThatIsOnlyHere(t *testing.T) {
	noLeaks(t)
	faulty := faultstore.New(memstore.New(), 1)
	s, tn := openLife(t, t.Context(), lifeOptions(virtualfile.NewMem(), faulty))
	_, _, other := family(t, tn)
	require.NoError(t, other.WaitUploads(t.Context()))
	faulty.Set(&faultstore.Fault{Nth: 1, Sticky: true})
	grow(t, other, 9)
	require.Len(t, other.Layers(), 2)
	done, err := other.Evict(t.Context(), other.Layers()...)
	require.NoError(t, err)
	require.Equal(t, 1, done.Layers)
	hasPage(t, other, 9)
	faulty.Set()
	hasPage(t, other, 3)
	require.NoError(t, s.Close())
}
