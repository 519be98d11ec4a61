package simulator_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/tiered"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/simulator/mock"
	"github.com/stratapg/strata/simulator/workload"
)

// timeline is a mock timeline that is compacted when the test says so, by tiered with a fan-out of 4.
type timeline struct {
	*mock.Timeline
	jobs int
}

func newTimeline(t *testing.T, target int64, keys uint32) *timeline {
	space, err := mock.NewSpace([]mock.Region{{First: page.RelTag{Spc: 1663, DB: 5, Rel: 1}.Block(0), Room: keys, Blocks: keys}})
	require.NoError(t, err)
	o := compaction.Options{CheckpointDistance: target, CompactionThreshold: 4}
	tl, err := mock.New(space, mock.Options{Compaction: o.WithDefaults(), Start: 1000, Count: true})
	require.NoError(t, err)
	return &timeline{Timeline: tl}
}

// compact does what is planned until there is nothing to do.
func (tl *timeline) compact(t *testing.T) {
	for {
		jobs, err := tl.Resolve(tiered.New().Plan(tl.Snapshot()))
		require.NoError(t, err)
		if len(jobs) == 0 {
			return
		}
		for _, j := range jobs {
			tl.jobs++
			w, err := tl.Prepare(j, tl.jobs)
			require.NoError(t, err)
			for w != nil && !w.Done() {
				require.NoError(t, w.Publish())
			}
		}
	}
}

// updates makes records.
type updates struct{ rand *workload.Rand }

func newUpdates() *updates { return &updates{workload.NewRand(1, "updates")} }

func (u *updates) uniform(t *testing.T, tl *timeline, n int, keys uint64, size uint32) {
	for range n {
		u.put(t, tl, mock.Record{Key: uint32(u.rand.Below(keys)), Size: size})
	}
}

func (u *updates) put(t *testing.T, tl *timeline, r mock.Record) {
	if _, full := tl.Put([]mock.Record{r}); full {
		require.NoError(t, tl.Flush(tiered.New()))
	}
}
