package tenant

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// TestDetachAncestorUnsettled: for as long as remote storage has a branch as a branch, its ancestor keeps what that needs, over restarts
// too, and nothing is collected of it itself; so whoever attaches the tenant elsewhere reads all of it.
func TestDetachAncestorUnsettled(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	mem, far := virtualfile.NewMem(), memstore.New()
	faulty := faultstore.New(far, 1)
	o := kinOptions(mem, faulty)
	o.Config.Upload.CloseTime = sweepDelay
	s, tn := openLife(t, ctx, o)
	k := newKin(t, tn, 36)
	for _, tl := range tn.Timelines() {
		require.NoError(t, tl.WaitUploads(ctx))
	}
	noIndex := &faultstore.Fault{Op: faultstore.Put, Nth: 1, Sticky: true, Key: func(key string) bool {
		return strings.Contains(key, kinID("child").String()+"/index_part")
	}}
	faulty.Set(noIndex)
	brief, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err := tn.DetachAncestor(brief, "child", DetachAncestorOptions{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	k.check(tn)
	require.NoError(t, tn.Delete(ctx, "late"))
	delete(k.hs, "late")
	for range 2 {
		k.unsettled(tn)
		main, err := tn.Timeline("main")
		require.NoError(t, err)
		_, err = main.Compact(ctx, timeline.CompactRequest{Thorough: true})
		require.NoError(t, err)
		_, err = main.GC(ctx, timeline.GCRequest{})
		require.NoError(t, err)
		require.NoError(t, main.WaitUploads(ctx))
		require.NoError(t, s.env.Deletions().Flush(ctx))
		k.check(tn, kinAlone...)
		mem = mem.CrashClone(1)
		require.NoError(t, s.Close())
		o.Config.FS = mem
		s, tn = openLife(t, ctx, o)
	}
	k.unsettled(tn)
	k.check(tn, kinAlone...)

	elsewhere, there := openLife(t, ctx, kinOptions(virtualfile.NewMem(), far))
	_, _, err = elsewhere.Attach(ctx, AttachOptions{Tenant: remoteTenant})
	require.NoError(t, err)
	child, err := there.Timeline("child")
	require.NoError(t, err)
	require.Equal(t, kinID("main"), child.Meta().Ancestor, "remote storage does not know better")
	main, err := there.Timeline("main")
	require.NoError(t, err)
	k.hs["main"].cutoff = main.Cutoff()
	require.Greater(t, main.Cutoff(), k.hs["child"].initial)
	k.check(there, kinAlone...)
	k.again(ctx, there)
	k.check(there, kinAlone...)
	require.NoError(t, there.Delete(ctx, "main"))
	k.check(there, kinAlone...)
	require.NoError(t, elsewhere.Close())
	require.NoError(t, s.Close())
}

// unsettled wants child to be detached, and all to be kept that remote storage may say is needed.
func (k *kin) unsettled(tn *Tenant) {
	child, err := tn.Timeline("child")
	require.NoError(k, err)
	require.True(k, child.Unsettled())
	require.Zero(k, child.Meta().AncestorLSN)
	_, err = child.GC(k.Context(), timeline.GCRequest{})
	require.ErrorIs(k, err, timeline.ErrUnsettled)
	main, err := tn.Timeline("main")
	require.NoError(k, err)
	for _, name := range []string{"child", "early", "low"} {
		require.Contains(k, main.ReadPoints(), k.hs[name].initial, name)
	}
	require.ErrorIs(k, tn.Delete(k.Context(), "main"), timeline.ErrUnsettled, "and at once")
}
