package timeline

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// TestChainsCountEachKeysRecords: records of one key follow each other up to the limit, then comes the page as of the next one's LSN;
// counting begins anew with each key and each image, and a record that needs nothing older is the first.
func TestChainsCountEachKeysRecords(t *testing.T) {
	tl := newTestTimeline(t, readEnv(t, virtualfile.NewMem(), "store", nil), "store", "main", readFirst, nil)
	lsns := []page.LSN{putLayer(t, tl, 2, true)}
	for range 7 {
		lsns = append(lsns, putLayer(t, tl, 2, false))
	}
	const record, first, image = "record", "first", "image"
	stored := (&page.Value{Kind: page.KindPostgres, Bytes: []byte("r")}).Append(nil)
	c := newChain(tl, 2)
	next := func(k page.Key, at int, what string) string {
		m := layer.Merged{Key: k, LSN: lsns[at], Value: stored, WillInit: what == first}
		if what == image {
			m.Image, m.Value = true, []byte("i")
		}
		v, willInit, err := c.next(t.Context(), &m)
		require.NoError(t, err)
		is, err := imageOf(v)
		require.NoError(t, err)
		switch {
		case is == nil:
			require.Equal(t, what == first, willInit)
			return what
		case what != image:
			want, err := tl.Get(t.Context(), k, lsns[at])
			require.NoError(t, err)
			require.Equal(t, want, is)
		}
		require.True(t, willInit)
		return image
	}
	a, b := blockKey(0), blockKey(1)
	for i, step := range []struct {
		k         page.Key
		at        int
		put, want string
	}{
		{a, 1, record, record}, {a, 2, record, record}, {a, 3, record, image},
		{a, 4, record, record}, {a, 5, record, record},
		{b, 1, record, record}, {b, 2, image, image}, {b, 3, record, record}, {b, 4, record, record}, {b, 5, record, image},
		{b, 6, first, first}, {b, 7, record, record}, {b, 7, record, image},
	} {
		require.Equal(t, step.want, next(step.k, step.at, step.put), "step %d", i)
	}
	require.EqualValues(t, 3, tl.env.counters.chainImages.Load())
	sparse := page.Key{F1: 0x62}
	require.True(t, sparse.Sparse())
	for i := range 5 {
		require.Equal(t, record, next(sparse, i+1, record), "such keys have no pages")
	}
}

// TestMergesLeaveOutWhatDoesNotCount: of what inputs hold a job gets what lies within its LSNs, and is the shard's.
func TestMergesLeaveOutWhatDoesNotCount(t *testing.T) {
	p := newPublished(t, nil)
	require.NoError(t, p.tl.compact.turn.take(t.Context()))
	defer p.tl.compact.turn.give()
	plan, err := p.tl.plan(t.Context(), &wanting{jobs: func(s *compaction.Snapshot) []compaction.Job { return retileJob(s, 2) }}, false)
	require.NoError(t, err)
	defer plan.view.release()
	job := plan.Jobs[0]
	merged := func() (keys map[page.Key]int) {
		keys = map[page.Key]int{}
		r := &jobRun{snap: plan.snap, descs: plan.descs, job: &job, progress: &progress{t: p.tl}}
		require.NoError(t, p.tl.mergeSpan(t.Context(), r, keySpan{page.FullRange, job.Inputs}, func(m *layer.Merged) error {
			require.True(t, job.Rect.LSNs.Contains(m.LSN))
			require.True(t, p.tl.meta.Shard.Keeps(m.Key))
			keys[m.Key]++
			return nil
		}))
		return keys
	}
	all := merged()
	require.Len(t, all, p.keys)
	job.Rect.LSNs.End = p.tl.LastRecordLSN() // of the last layer
	for k, n := range merged() {
		require.Equal(t, all[k]-1, n)
	}
	p.tl.meta.Shard = page.NewShardIdentity(0, 2, 1)
	some := merged()
	require.NotEmpty(t, some)
	require.Less(t, len(some), p.keys)
	p.tl.meta.Shard = page.ShardIdentity{}
}
