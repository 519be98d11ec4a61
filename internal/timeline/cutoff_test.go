package timeline

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// handClock is a clock that tests move.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func newHandClock() *handClock { return &handClock{now: time.Unix(1_700_000_000, 0)} }

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestReadsBelowTheCutoffAreRefused(t *testing.T) {
	fsys, dir := virtualfile.NewMem(), "store"
	clock := newHandClock()
	e := readEnv(t, fsys, dir, func(c *Config) { c.Clock = clock.Now })
	tl := newTestTimeline(t, e, dir, "main", readFirst, nil)
	ctx := context.Background()
	var lsns []page.LSN
	for l := range 6 {
		lsns = append(lsns, putLayer(t, tl, 3, l == 0))
	}
	leased, err := tl.Lease(ctx, lsns[1], time.Minute)
	require.NoError(t, err)
	require.Equal(t, Lease{lsns[1], clock.Now().Add(time.Minute)}, leased)
	held, release, err := tl.Hold(ctx, lsns[2])
	require.NoError(t, err)
	require.Equal(t, lsns[2], held)

	require.NoError(t, tl.moveCutoff(ctx, lsns[4]))
	require.NoError(t, tl.moveCutoff(ctx, lsns[3]), "a cutoff does not go back")
	require.Equal(t, lsns[4], tl.OldestLSN())
	require.Equal(t, lsns[4], tl.Info().OldestLSN)
	refused := func(lsn page.LSN) {
		t.Helper()
		_, err := tl.Get(ctx, blockKey(1), lsn)
		require.ErrorIs(t, err, ErrBeforeHistory)
		require.ErrorContains(t, err, lsns[4].String(), "which LSN can be read")
		_, err = tl.Snapshot(ctx, lsn)
		require.ErrorIs(t, err, ErrBeforeHistory)
		_, err = tl.Lease(ctx, lsn, time.Minute)
		require.ErrorIs(t, err, ErrBeforeHistory)
		_, err = tl.Branch(ctx, dir, "late", page.TimelineID{9}, lsn)
		require.ErrorIs(t, err, ErrBeforeHistory)
	}
	served := func(lsn page.LSN) {
		t.Helper()
		_, err := tl.Get(ctx, blockKey(1), lsn)
		require.NoError(t, err)
		s, err := tl.Snapshot(ctx, lsn)
		require.NoError(t, err)
		_, err = s.Get(ctx, blockKey(1), lsn)
		require.NoError(t, err)
		s.Close()
	}
	refused(lsns[0])
	refused(lsns[3])
	for _, i := range []int{1, 2, 4, 5} {
		served(lsns[i])
	}
	require.Equal(t, []page.LSN{lsns[1], lsns[2]}, tl.heldLSNs())

	// A lease lasts as long as it is renewed, and not longer.
	clock.pass(50 * time.Second)
	_, err = tl.Lease(ctx, lsns[1], time.Minute)
	require.NoError(t, err)
	_, err = tl.Lease(ctx, lsns[1], time.Second)
	require.NoError(t, err, "a lease is never made shorter")
	clock.pass(50 * time.Second)
	served(lsns[1])
	clock.pass(11 * time.Second)
	refused(lsns[1])
	release()
	release()
	refused(lsns[2])
	require.Zero(t, tl.Leased())
}

// TestCutoffIsDurable opens a timeline again whose cutoff was moved.
func TestCutoffIsDurable(t *testing.T) {
	mem, dir := virtualfile.NewMem(), "store"
	fault := &virtualfile.Fault{}
	e := readEnv(t, virtualfile.NewFaulty(mem, fault), dir, nil)
	m := manifest.Meta{Name: "main", Timeline: page.TimelineID{1}, Version: 17, InitialLSN: readFirst, WALSegSize: 16 << 20}
	ctx := context.Background()
	tl, err := Create(ctx, e, dir, m, 0, nil, nil)
	require.NoError(t, err)
	first := putLayer(t, tl, 3, true)
	second := putLayer(t, tl, 3, false)
	*fault = virtualfile.Fault{Op: virtualfile.OpWrite, Nth: 1, Err: context.DeadlineExceeded}
	require.Error(t, tl.moveCutoff(ctx, second))
	*fault = virtualfile.Fault{}
	_, err = tl.Get(ctx, blockKey(1), first)
	require.NoError(t, err, "what is not durable is not in effect")
	_, err = tl.Lease(ctx, first, time.Minute)
	require.ErrorIs(t, err, ErrBeforeHistory, "but it may come to be, after a crash")
	require.NoError(t, tl.moveCutoff(ctx, second))
	require.NoError(t, mem.SyncDir(""))
	require.NoError(t, mem.SyncDir(dir))
	clone := mem.CrashClone(3)
	require.NoError(t, tl.Close())

	e = readEnv(t, clone, dir, nil)
	o, err := Open(ctx, e, dir+"/"+m.Timeline.String(), m.Owner(), m.Timeline)
	require.NoError(t, err)
	tl, err = o.Start(nil)
	require.NoError(t, err)
	_, err = tl.Get(ctx, blockKey(1), first)
	require.ErrorIs(t, err, ErrBeforeHistory)
	_, err = tl.Get(ctx, blockKey(1), second)
	require.NoError(t, err)
	require.NoError(t, tl.Close())
}

// TestBranchesHoldWhatTheyNeed looks at the read points of a tree of branches.
func TestBranchesHoldWhatTheyNeed(t *testing.T) {
	fsys, dir := virtualfile.NewMem(), "store"
	e := readEnv(t, fsys, dir, nil)
	root := newTestTimeline(t, e, dir, "root", readFirst, nil)
	ctx := context.Background()
	early := putLayer(t, root, 3, true)
	late := putLayer(t, root, 3, false)
	last := putLayer(t, root, 3, false)
	branch := func(of *Timeline, name string, lsn page.LSN) *Timeline {
		tl, err := of.Branch(ctx, dir, name, page.TimelineID{name[0], name[1]}, lsn)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, tl.Close()) })
		return tl
	}
	child := branch(root, "child", late)
	below := branch(child, "below", early) // of the child, and yet of what is the root's
	putLayer(t, child, 3, false)
	grand := branch(child, "grand", child.LastRecordLSN())
	points := func(tl *Timeline) (lsns []page.LSN) {
		for _, p := range tl.readPoints() {
			require.Equal(t, []page.Range{page.NotInherited}, p.Released)
			lsns = append(lsns, p.LSN)
		}
		return lsns
	}
	require.Equal(t, []page.LSN{early, late}, points(root))
	for _, tl := range []*Timeline{child, below, grand} {
		require.Equal(t, readFirst, tl.OldestLSN())
	}
	require.Equal(t, []page.LSN{early, grand.Meta().AncestorLSN}, points(child))
	require.Empty(t, points(below))

	// Branches are read as ever, whatever the ancestor's cutoff is.
	require.NoError(t, root.moveCutoff(ctx, last))
	require.NoError(t, child.moveCutoff(ctx, child.LastRecordLSN()))
	for _, tl := range []*Timeline{below, grand, child} {
		_, err := tl.Get(ctx, blockKey(1), tl.LastRecordLSN())
		require.NoError(t, err)
		_, err = tl.Get(ctx, blockKey(1), early-8)
		require.ErrorIs(t, err, ErrBeforeHistory)
	}
	_, err := below.Get(ctx, blockKey(1), below.Meta().InitialLSN)
	require.NoError(t, err)
	require.Equal(t, below.Meta().InitialLSN, below.OldestLSN())
	_, err = child.Get(ctx, blockKey(1), late)
	require.ErrorIs(t, err, ErrBeforeHistory)
}

// TestReadsPinAncestorsFirst: an ancestor drops what a branch has covered. A read that began before must not meet the
// branch's view without the image and the ancestor's without what it replaced. A long line of branches makes the moment
// between the two long.
func TestReadsPinAncestorsFirst(t *testing.T) {
	fsys, dir := virtualfile.NewMem(), "store"
	e := readEnv(t, fsys, dir, nil)
	root := newTestTimeline(t, e, dir, "root", readFirst, nil)
	putLayer(t, root, 1, true)
	leaf := root
	for i := range 60 {
		leaf = newTestTimeline(t, e, dir, fmt.Sprintf("%*d", i+1, i), root.LastRecordLSN(), leaf)
	}
	// The i-th map of the leaf covers what the i-th of the root is without.
	var versions sync.Map
	show := func(tl *Timeline, i int) {
		m, err := tl.view.Load().layers.Apply(nil, nil)
		require.NoError(t, err)
		versions.Store(m, i)
		tl.update(func(v *view) { v.layers = m })
	}
	version := func(v *view) int {
		i, _ := versions.Load(v.layers)
		return i.(int)
	}
	show(leaf, 0)
	show(root, 0)
	var stop atomic.Bool
	var reads sync.WaitGroup
	reads.Go(func() {
		for !stop.Load() {
			l, err := leaf.pinToRead(leaf.LastRecordLSN())
			if err != nil {
				t.Error(err)
				return
			}
			if version(l.views[0]) < version(l.views[len(l.views)-1]) {
				t.Error("the ancestor's view is newer than the branch's")
				stop.Store(true)
			}
			l.release()
		}
	})
	for i := range testkit.Size(2_000, 20_000, 200_000) {
		show(leaf, i+1)
		show(root, i+1)
	}
	stop.Store(true)
	reads.Wait()
}
