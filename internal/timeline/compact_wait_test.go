package timeline

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// TestWaitsForALane: who waits for a lane holds no view, so that what others replace meanwhile can go, and plans again once there is one. A
// lane is given back whatever comes of that.
func TestWaitsForALane(t *testing.T) {
	var mu sync.Mutex
	var done []page.Range
	p := newPublished(t, func(c *Config) {
		c.Events.CompactionEnd = func(i CompactionInfo) {
			mu.Lock()
			defer mu.Unlock()
			done = append(done, i.Rect.Keys)
		}
	})
	at, lanes := p.tl.LastRecordLSN(), p.tl.env.lanes
	one, two := page.Range{Start: blockKey(0), End: blockKey(1)}, page.Range{Start: blockKey(1), End: blockKey(2)}
	during := func(meanwhile func()) error {
		p.tl.SetStrategy(imageAt{at, one})
		require.True(t, lanes.tryTake())
		ended := make(chan error, 1)
		go func() {
			_, err := p.tl.Compact(context.Background(), CompactRequest{})
			ended <- err
		}()
		require.Eventually(t, func() bool { _, waiting := lanes.count(); return waiting == 1 }, time.Minute, time.Microsecond)
		require.EqualValues(t, 1, p.tl.view.Load().refs.Load(), "only the timeline itself holds its view")
		meanwhile()
		lanes.give()
		return <-ended
	}
	require.ErrorIs(t, during(func() { p.tl.SetStrategy(nil) }), ErrNoStrategy)
	require.NoError(t, during(func() { p.tl.SetStrategy(imageAt{at, two}) }))
	require.Equal(t, []page.Range{two}, done, "the job is one of the second plan")
	require.NoError(t, during(func() { p.tl.SetStrategy(imageAt{at, two}) }))
	require.Len(t, done, 1, "there is nothing left to do")
	taken, waiting := lanes.count()
	require.Zero(t, taken+waiting)
}

// TestNamesThatAreHeld: a job whose outputs would have the names of files that are read still is done in the background as soon as
// these are deleted, and not before.
func TestNamesThatAreHeld(t *testing.T) {
	idle := &wanting{jobs: func(*compaction.Snapshot) []compaction.Job { return nil }}
	p := newPublished(t, func(c *Config) { c.Compaction.Period, c.Compaction.Strategy = time.Hour, idle })
	old := p.tl.Layers()
	// The only key cannot be cut at any LSN so that the first piece has a name of its own.
	var held []layer.Desc
	keys, lsns := page.Range{Start: blockKey(0), End: blockKey(1)}, page.LSNRange{Start: old[0].LSNs.Start, End: old[0].LSNs.End}
	for _, d := range old {
		lsns.Start, lsns.End = min(lsns.Start, d.LSNs.Start), max(lsns.End, d.LSNs.End)
	}
	for end := lsns.Start + 1; end <= lsns.End; end++ {
		d := old[0]
		d.Keys, d.LSNs, d.Image = keys, page.LSNRange{Start: lsns.Start, End: end}, false
		held = append(held, d)
	}
	p.tl.compact.doom(held...)
	p.tl.SetStrategy(&wanting{jobs: func(s *compaction.Snapshot) []compaction.Job { return retileJob(s, 1) }})
	require.Eventually(t, p.tl.plans.namesHeld.Load, time.Minute, time.Microsecond)
	require.Equal(t, len(old), p.tl.view.Load().layers.L0().Height())
	require.Empty(t, p.tl.plans.breakers.open())
	_, err := p.tl.plans.breakers.failing(causes...)
	require.NoError(t, err, "to wait is not to fail")

	p.tl.bury(held...)
	require.Eventually(t, func() bool { return p.tl.view.Load().layers.L0().Height() == 0 }, time.Minute, time.Microsecond)
	require.Eventually(t, func() bool { return len(p.tl.compact.doomed()) == 0 }, time.Minute, time.Microsecond, "files go with the last view")
	p.whole()
}

// TestObsoleteLayersGoLast: layers that a job makes needless without reading them go with its last output.
func TestObsoleteLayersGoLast(t *testing.T) {
	p := newPublished(t, nil)
	low := p.tl.Layers()[0].LSNs.End + 7
	makeImage(t, p.tl, low, page.FullRange)
	makeImage(t, p.tl, p.tl.LastRecordLSN(), page.FullRange)
	require.NoError(t, p.tl.moveCutoff(t.Context(), p.tl.LastRecordLSN()))
	hidden := slices.IndexFunc(p.tl.Layers(), func(d layer.Desc) bool { return d.Image && d.LSNs.Start == low })
	require.GreaterOrEqual(t, hidden, 0)
	image := p.tl.Layers()[hidden]
	files := 0
	p.creates.begin(func(name string) bool {
		if isLayerName(name) {
			files++
		}
		return files > 1
	})
	run := func() error {
		once := false
		_, err := p.tl.Compact(t.Context(), CompactRequest{Strategy: &wanting{jobs: func(s *compaction.Snapshot) []compaction.Job {
			if once {
				return nil
			}
			once = true
			jobs := retileAll(s, 2)
			jobs[0].Obsolete = slices.Clone(jobs[0].Inputs)
			for i := range s.Layers {
				if s.Layers[i].ID == idOf(&image) {
					jobs[0].Obsolete = append(jobs[0].Obsolete, i)
				}
			}
			return jobs
		}}})
		return err
	}
	require.Error(t, run())
	p.creates.begin(nil)
	require.Contains(t, p.tl.Layers(), image)
	require.NoError(t, run())
	require.NotContains(t, p.tl.Layers(), image)
	p.whole()
}

// TestRefusedOutputsThatStay: the file of an output that was refused and cannot be deleted is deleted later, and keeps its name until then.
func TestRefusedOutputsThatStay(t *testing.T) {
	p := newPublished(t, nil)
	old := p.tl.Layers()
	p.removes.begin(func(name string) bool { return isLayerName(name) })
	_, err := p.tl.Compact(t.Context(), CompactRequest{Strategy: &wanting{jobs: func(s *compaction.Snapshot) []compaction.Job {
		jobs := retileJob(s, 2)
		rect := jobs[0].Rect
		jobs[0].Cut = func() compaction.Cutter { return oneRect(rect) }
		return jobs
	}}})
	require.ErrorContains(t, err, "would look like an L0")
	require.Equal(t, old, p.tl.Layers())
	require.Len(t, p.tl.compact.doomed(), 1)
	p.removes.begin(nil)
	p.whole()
	require.Empty(t, p.tl.compact.doomed())
}
