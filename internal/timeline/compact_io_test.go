package timeline

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// spending is what background work of a store asked its pace for, and the most that it held of the share of jobs.
type spending struct {
	mu            sync.Mutex
	env           *Env
	read, longest int
	memory        int64 // the most
	// progress counts looks, running those at which the pace knew that there is background work.
	progress, running int
}

// newSpending makes a store in memory that is watched. Its pace does not adapt, as the clock stands still.
func newSpending(t *testing.T) *spending {
	s := &spending{}
	s.env = readEnv(t, virtualfile.NewMem(), "store", func(c *Config) {
		c.Clock, c.Memory, c.Compaction.Lanes = newHandClock().Now, 16<<20, 1
		c.Events.CompactionProgress = func(CompactionInfo) { s.look() }
	})
	wait := s.env.pace.reading.Wait
	s.env.pace.reading.Wait = func(ctx context.Context, n int) error {
		s.mu.Lock()
		s.read, s.longest = s.read+n, max(s.longest, n)
		s.mu.Unlock()
		return wait(ctx, n)
	}
	return s
}

func (s *spending) look() {
	used := s.env.Shares.Jobs.Stats().Used
	s.env.pace.mu.Lock()
	running := s.env.pace.mu.running
	s.env.pace.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory = max(s.memory, used)
	if s.progress++; running == 1 {
		s.running++
	}
}

// told is how much the pace was told of: in all, and of it what was read.
func (s *spending) told() (all, read int64) {
	s.env.pace.mu.Lock()
	defer s.env.pace.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.env.pace.mu.bytes, int64(s.read)
}

// sizes sums up the files of layers, of images or of deltas.
func sizes(tl *Timeline, image bool) (n int64) {
	for _, d := range tl.Layers() {
		if d.Image == image {
			n += d.Size
		}
	}
	return n
}

// TestWhatCompactionSpends: all that a job reads and writes is asked of the pace before, in transfers that are not longer than they may
// be, and what a merge holds counts in the share of jobs and is the part of it that merges may have.
func TestWhatCompactionSpends(t *testing.T) {
	s := newSpending(t)
	const keys, layers = 800, 6
	tl := newTestTimeline(t, s.env, "store", "main", readFirst, nil)
	for i := range layers {
		putLayer(t, tl, keys, i == 0)
	}
	inputs := sizes(tl, false)
	compact := func(of func(*compaction.Snapshot) []compaction.Job) (read, wrote int64) {
		once := false
		s.read = 0
		_, err := tl.Compact(t.Context(), CompactRequest{Strategy: &wanting{jobs: func(snap *compaction.Snapshot) []compaction.Job {
			if once {
				return nil
			}
			once = true
			return of(snap)
		}}})
		require.NoError(t, err)
		all, read := s.told() // all is counted anew for each job
		require.Zero(t, s.env.pace.mu.running)
		require.Zero(t, s.env.Shares.Jobs.Used())
		return read, all - read
	}
	read, wrote := compact(func(snap *compaction.Snapshot) []compaction.Job { return retileJob(snap, keys) })
	require.GreaterOrEqual(t, read, inputs*9/10)
	require.GreaterOrEqual(t, wrote, sizes(tl, false)-2*backgroundTransfer)
	require.LessOrEqual(t, s.longest, backgroundTransfer)
	require.Positive(t, s.memory)
	require.LessOrEqual(t, s.memory, tl.env.mergeMemory())
	require.Positive(t, s.progress)
	require.Equal(t, s.progress, s.running)

	// An image's values are read as others read them, and not where they wait for it.
	read, wrote = compact(func(*compaction.Snapshot) []compaction.Job {
		return []compaction.Job{imageJob(tl.LastRecordLSN(), page.FullRange)}
	})
	require.GreaterOrEqual(t, read, sizes(tl, false)*9/10)
	require.GreaterOrEqual(t, wrote, sizes(tl, true)*9/10-2*backgroundTransfer)
	require.LessOrEqual(t, s.longest, backgroundTransfer)
}

// TestWritersOfJobs: beside reads layers are written in small pieces, otherwise in those that are fastest; what lies behind the values is
// asked of the pace too; and jobs keep to the lane they have.
func TestWritersOfJobs(t *testing.T) {
	s := newSpending(t)
	tl := newTestTimeline(t, s.env, "store", "main", readFirst, nil)
	putLayer(t, tl, 1, true)
	s.env.pace.begin()
	require.Zero(t, tl.pacedOptions().Transfer)
	require.False(t, s.env.lanes.hold())
	s.env.pace.end()

	for range paceSamples * latencySample {
		_, err := tl.Get(t.Context(), blockKey(0), tl.LastRecordLSN())
		require.NoError(t, err)
	}
	s.env.pace.begin()
	require.Equal(t, backgroundTransfer, tl.pacedOptions().Transfer)
	require.True(t, s.env.lanes.hold())
	before, _ := s.told()
	require.NoError(t, tl.pacedOptions().Pace(t.Context(), 1000))
	after, _ := s.told()
	require.EqualValues(t, 1000, after-before)
	require.Same(t, s.env.Shares.Jobs, tl.pacedOptions().Budget)
	s.env.pace.end()
}

// TestPaceWaits: who is ahead of the pace waits until it is not, or the context ends.
func TestPaceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(time.Now, 1<<20)
		p.begin()
		require.NoError(t, p.wait(t.Context(), 2<<20))
		began := time.Now()
		require.NoError(t, p.wait(t.Context(), 1<<20))
		require.Equal(t, 2*time.Second, time.Since(began))
		require.Equal(t, int64(2*time.Second), p.waited.Load())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.wait(ctx, 1) }()
		synctest.Wait()
		require.Empty(t, ended)
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		fast := newPace(time.Now, 0)
		require.ErrorIs(t, fast.wait(ctx, 1), context.Canceled, "also if there is nothing to wait for")
	})
}
