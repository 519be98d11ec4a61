package timeline

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// TestLeasesOfDescendants: an LSN that is leased of a branch's branch is held by the timeline to whose history it belongs, and is read
// through the branch however far the cutoff of that timeline moves; an LSN of the branch's own is a point of nobody else's.
func TestLeasesOfDescendants(t *testing.T) {
	fsys, dir, ctx := virtualfile.NewMem(), "store", context.Background()
	e := readEnv(t, fsys, dir, nil)
	root := newTestTimeline(t, e, dir, "root", readFirst, nil)
	leased, unleased := putLayer(t, root, 3, true), putLayer(t, root, 3, false)
	late, last := putLayer(t, root, 3, false), putLayer(t, root, 3, false)
	branch := func(of *Timeline, name string, lsn page.LSN) *Timeline {
		tl, err := of.Branch(ctx, dir, name, page.TimelineID{name[0]}, lsn)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, tl.Close()) })
		return tl
	}
	child := branch(root, "child", late)
	putLayer(t, child, 3, false)
	grand := branch(child, "grand", child.LastRecordLSN())
	own := putLayer(t, grand, 3, false)
	points := func(tl *Timeline) (lsns []page.LSN) {
		for _, p := range tl.readPoints() {
			lsns = append(lsns, p.LSN)
		}
		return lsns
	}
	require.Equal(t, []page.LSN{late}, points(root))
	want, err := grand.Get(ctx, blockKey(1), leased)
	require.NoError(t, err)
	for _, lsn := range []page.LSN{leased, own} {
		_, err := grand.Lease(ctx, lsn, time.Hour)
		require.NoError(t, err)
	}
	require.Equal(t, []page.LSN{leased, late}, points(root))
	require.Equal(t, []page.LSN{grand.Meta().AncestorLSN}, points(child))
	require.Equal(t, []page.LSN{own}, points(grand))

	require.NoError(t, root.moveCutoff(ctx, last))
	got, err := grand.Get(ctx, blockKey(1), leased)
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = grand.Get(ctx, blockKey(1), unleased)
	require.ErrorIs(t, err, ErrBeforeHistory)
}
