package tenant

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/evict"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// evicting is a store whose clock stands still, and goes on by a minute with each use.
type evicting struct {
	*testing.T
	s     *Store
	fs    *virtualfile.MemFS
	clock atomic.Int64
}

func newEvicting(t *testing.T, change func(*Options)) *evicting {
	e := &evicting{T: t, fs: virtualfile.NewMem()}
	e.clock.Store(int64(1_800_000_000 * time.Second))
	o := remoteOptions(e.fs, memstore.New())
	o.Config.Clock = func() time.Time { return time.Unix(0, e.clock.Load()) }
	if change != nil {
		change(&o)
	}
	s, err := Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	e.s = s
	return e
}

func (e *evicting) pass(d time.Duration) {
	e.clock.Add(int64(d))
	e.s.env.NoteUse()
}

// use reads layers of a timeline that fill made, one after the other, each with those before it: a read asks all of them at once.
func (e *evicting) use(tl *timeline.Timeline, layers ...int) {
	for _, n := range layers {
		e.pass(time.Minute)
		lsn := firstLSN + page.LSN(8*(n+1))
		requirePage(e, e.Context(), tl, uint32(n+1), lsn, lsn)
	}
}

// here gives the layers of a timeline that fill made and that are on the disk, and the size of one.
func (e *evicting) here(tl *timeline.Timeline) (layers []int, size int64) {
	all, _, err := tl.Resident()
	require.NoError(e, err)
	for _, r := range all {
		layers = append(layers, int(r.Desc.LSNs.End-1-firstLSN)/8-1)
		size = r.Desc.Size
	}
	return layers, size
}

// TestEvictionOrder: those layers leave the disk first that were read least recently, relative to their tenant: one that reads rarely
// keeps its share, and of each the last one goes when nothing else is left.
func TestEvictionOrder(t *testing.T) {
	e := newEvicting(t, nil)
	busy := fill(t, e.s, 4)
	tn, err := e.s.CreateTenant(t.Context(), page.TenantID{1})
	require.NoError(t, err)
	rare := fillTenant(t, tn, 4)
	e.use(rare, 3, 2, 1, 0)
	e.use(busy, 3, 2, 1, 0)
	_, size := e.here(rare)
	evictTo := func(layers int64) map[evict.Reason]int {
		r, err := e.s.Evict(t.Context(), evict.Limits{MaxBytes: layers * size})
		require.NoError(t, err)
		require.Zero(t, r.Short)
		return r.Reasons
	}
	require.Equal(t, map[evict.Reason]int{evict.Idle: 4}, evictTo(4))
	left, _ := e.here(rare)
	require.ElementsMatch(t, []int{1, 0}, left)
	left, _ = e.here(busy)
	require.ElementsMatch(t, []int{1, 0}, left)
	require.Equal(t, map[evict.Reason]int{evict.Idle: 2}, evictTo(2))
	left, _ = e.here(rare)
	require.Equal(t, []int{0}, left)
	left, _ = e.here(busy)
	require.Equal(t, []int{0}, left)
	require.Equal(t, map[evict.Reason]int{evict.Reserved: 1}, evictTo(1))

}

// TestEvictionByAge: what nobody has read for long leaves the disk, and not what came a short while ago, was it made here or fetched.
func TestEvictionByAge(t *testing.T) {
	e := newEvicting(t, nil)
	tl := fill(t, e.s, 4)
	age := func() int {
		r, err := e.s.Evict(t.Context(), evict.Limits{MaxAge: 30 * time.Minute})
		require.NoError(t, err)
		require.Equal(t, r.Layers, r.Reasons[evict.Age])
		return r.Layers
	}
	require.Zero(t, age())
	e.pass(time.Hour)
	e.use(tl, 1)
	require.Equal(t, 2, age())
	left, _ := e.here(tl)
	require.ElementsMatch(t, []int{0, 1}, left)
	e.pass(time.Hour)
	grow(t, tl, 9) // whose layer is not one of fill's
	require.NoError(t, tl.WaitUploads(t.Context()))
	require.Equal(t, 2, age())
	left, _ = e.here(tl)
	require.Equal(t, []int{4}, left, "it has just been made")
	e.pass(time.Hour)
	require.NoError(t, tl.Download(t.Context(), nil))
	require.Equal(t, 1, age())
	left, _ = e.here(tl)
	require.ElementsMatch(t, []int{0, 1, 2, 3}, left, "they have just come")
}

// TestHiddenLayersGoFirst: layers that newer images hide leave the disk before all others, however recently they were read.
func TestHiddenLayersGoFirst(t *testing.T) {
	e := newEvicting(t, func(o *Options) {
		o.Config.Compaction.Strategy, o.Config.Compaction.Options = strategyNamed(t, "legacy"), eager()
	})
	tl := fill(t, e.s, 4)
	_, err := tl.Compact(t.Context(), timeline.CompactRequest{})
	require.NoError(t, err)
	require.NoError(t, tl.WaitUploads(t.Context()))
	all, _, err := tl.Resident()
	require.NoError(t, err)
	hidden := map[layer.Desc]bool{}
	var bytes int64
	for _, r := range all {
		if r.Covered {
			hidden[r.Desc] = true
			bytes += r.Desc.Size
		}
	}
	require.NotEmpty(t, hidden)
	require.Less(t, len(hidden), len(all))
	e.pass(time.Minute)
	requirePage(t, t.Context(), tl, 1, tl.LastRecordLSN(), firstLSN+8)
	e.use(tl, 0)
	_, used, err := tl.Resident()
	require.NoError(t, err)
	r, err := e.s.Evict(t.Context(), evict.Limits{MaxBytes: used - bytes})
	require.NoError(t, err)
	require.Equal(t, map[evict.Reason]int{evict.Covered: len(hidden)}, r.Reasons)
	left, _, err := tl.Resident()
	require.NoError(t, err)
	for _, l := range left {
		require.False(t, hidden[l.Desc], "%s", l.Desc.Name())
	}
	requirePage(t, t.Context(), tl, 1, firstLSN+8, firstLSN+8)
}

// TestEvictionByDisk: the disk is looked at, not only the layers: what is used of it, and what is free; a full one without waiting for
// the time to look.
func TestEvictionByDisk(t *testing.T) {
	e := newEvicting(t, func(o *Options) { o.Evict.Period = time.Hour })
	tl := fill(t, e.s, 4)
	all, _ := e.here(tl)
	require.Len(t, all, 4)
	const total = 100 << 20
	used := e.fs.Used()
	e.fs.SetCapacity(total)
	r, err := e.s.Evict(t.Context(), evict.Limits{MaxUsagePct: 50, MinAvailBytes: 1})
	require.NoError(t, err)
	require.Zero(t, r.Layers)
	r, err = e.s.Evict(t.Context(), evict.Limits{MinAvailBytes: total - used + 1})
	require.NoError(t, err)
	require.Equal(t, 1, r.Layers, "one byte was lacking")
	require.Less(t, e.fs.Used(), used)
	e.fs.SetCapacity(e.fs.Used() + 100)
	r, err = e.s.Evict(t.Context(), evict.Limits{MaxUsagePct: 99})
	require.NoError(t, err)
	require.Positive(t, r.Layers)
	e.fs.SetCapacity(total)
	require.NoError(t, tl.Download(t.Context(), nil))
	e.fs.SetCapacity(e.fs.Used() + 100)
	require.Eventually(t, func() bool {
		e.s.noteFull()
		all, _ := e.here(tl)
		return len(all) == 0
	}, time.Minute, time.Millisecond)
}
