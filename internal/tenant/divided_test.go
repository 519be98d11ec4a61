package tenant

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// dividing is a strategy that compacts nothing and has flushes cut at some keys.
type dividing struct{ at []page.Key }

func (dividing) Name() string                                  { return "dividing" }
func (dividing) Plan(*compaction.Snapshot) (p compaction.Plan) { return p }

func (d dividing) Flush(_ *compaction.Snapshot, lsns page.LSNRange) compaction.FlushSpec {
	return compaction.FlushSpec{Cut: func() compaction.Cutter { return &divider{d.at, lsns} }}
}

type divider struct {
	at   []page.Key
	lsns page.LSNRange
}

func (*divider) Add(compaction.Entry, func(compaction.Rect)) {}

func (d *divider) Finish(emit func(compaction.Rect)) {
	for i := range len(d.at) - 1 {
		emit(compaction.Rect{Keys: page.Range{Start: d.at[i], End: d.at[i+1]}, LSNs: d.lsns})
	}
}

// dividedKeys lie in the first, second and fourth of the stretches that dividedAt makes.
var (
	dividedKeys = []page.Key{{F1: 1, F6: 7}, {F1: 1, F6: 8}, {F1: 2, F6: 7}, {F1: 4, F6: 9}}
	dividedAt   = []page.Key{page.MinKey, {F1: 2}, {F1: 3}, {F1: 4}, page.MaxKey}
)

func dividedOptions(fs virtualfile.FS, at []page.Key) Options {
	o := testOptions(fs)
	o.Config.Compaction.Strategy = dividing{at}
	return o
}

// fillDivided puts some versions of all keys, flushing after each few as often as it is told, and gives what was put last and what a
// flush has said is durable.
func fillDivided(tl *timeline.Timeline, flushes int) (last, durable page.LSN, err error) {
	last = tl.LastRecordLSN()
	durable = last
	for range flushes {
		for range 3 {
			var b page.Batch
			for _, k := range dividedKeys {
				b.PutImage(k, last+8, fmt.Appendf(nil, "%0300d", last+8))
			}
			if err := tl.Put(context.Background(), &b); err != nil {
				return last, durable, err
			}
			last += 8
		}
		if err := tl.Flush(context.Background()); err != nil {
			return last, durable, err
		}
		durable = last
	}
	return last, durable, nil
}

func requireDivided(t *testing.T, tl *timeline.Timeline, last page.LSN) {
	t.Helper()
	require.Equal(t, last, tl.LastRecordLSN())
	for lsn := firstLSN + 8; lsn <= last; lsn += 8 {
		for _, k := range dividedKeys {
			v, err := tl.Get(context.Background(), k, lsn)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("%0300d", lsn), string(v))
		}
	}
}

// TestFlushIsDivided: a strategy has a flush made into several deltas, which come in one edit of the manifest and in one view; a
// stretch without values has no file.
func TestFlushIsDivided(t *testing.T) {
	noLeaks(t)
	o := dividedOptions(virtualfile.NewMem(), dividedAt)
	var told []timeline.FlushInfo
	var seen []int // layers at the end of each flush
	var tl *timeline.Timeline
	o.Config.Events.FlushEnd = func(i timeline.FlushInfo) { told, seen = append(told, i), append(seen, len(tl.Layers())) }
	s, _, made := opened(t, o)
	tl = made
	edits := s.Metrics().ManifestEdits
	last, _, err := fillDivided(tl, 2)
	require.NoError(t, err)
	require.Equal(t, edits+2, s.Metrics().ManifestEdits)
	require.EqualValues(t, 6, s.Metrics().Flushes)
	require.Zero(t, s.Metrics().L0Height)
	require.Equal(t, []int{3, 6}, seen)
	for _, i := range told {
		require.NoError(t, i.Err)
		var keys []page.Range
		for _, d := range i.Layers {
			require.Equal(t, i.LSNs, d.LSNs)
			keys = append(keys, d.Keys)
		}
		require.Equal(t, []page.Range{{Start: page.MinKey, End: dividedAt[1]}, {Start: dividedAt[1], End: dividedAt[2]}, {Start: dividedAt[3], End: page.MaxKey}}, keys)
	}
	requireDivided(t, tl, last)
}

// TestFlushesThatNobodyDivides are L0s: with strategies that do not say how, and with one that breaks the rules of it.
func TestFlushesThatNobodyDivides(t *testing.T) {
	noLeaks(t)
	k := func(n uint8) page.Key { return page.Key{F1: n} }
	for name, strategy := range map[string]compaction.Strategy{
		"no strategy":  nil,
		"legacy":       strategyNamed(t, "legacy"),
		"tiered":       strategyNamed(t, "tiered"),
		"partitioned":  strategyNamed(t, "partitioned"), // has no plan yet, so that it does not know what is there
		"late begin":   dividing{[]page.Key{k(1), k(2), page.MaxKey}},
		"early end":    dividing{[]page.Key{page.MinKey, k(2)}},
		"back again":   dividing{[]page.Key{page.MinKey, k(3), k(2), page.MaxKey}},
		"empty":        dividing{[]page.Key{page.MinKey, k(3), k(3), page.MaxKey}},
		"nothing said": dividing{[]page.Key{page.MinKey}},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(virtualfile.NewMem())
			o.Config.Compaction.Strategy = strategy
			_, _, tl := opened(t, o)
			last, _, err := fillDivided(tl, 2)
			require.NoError(t, err)
			require.Len(t, tl.Layers(), 2)
			for _, d := range tl.Layers() {
				require.True(t, d.IsL0(), "%s", d.Name())
			}
			requireDivided(t, tl, last)
		})
	}
}

// TestPartitionedFlushes: once a plan has found out what is there, what is hot has deltas of its own.
func TestPartitionedFlushes(t *testing.T) {
	noLeaks(t)
	o := testOptions(virtualfile.NewMem())
	o.Config.Compaction.Strategy, o.Config.Compaction.Options = strategyNamed(t, "partitioned"), eager()
	o.Config.CheckpointDistance = 1 << 20
	_, _, tl := opened(t, o)
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 16384}
	put := func(blocks ...uint32) {
		for _, n := range blocks {
			require.NoError(t, putImage(tl, rel.Block(n), tl.LastRecordLSN()+8, make([]byte, 1000)))
		}
		require.NoError(t, tl.Flush(t.Context()))
	}
	put(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	_, err := tl.Compact(t.Context(), timeline.CompactRequest{Thorough: true})
	require.NoError(t, err)
	before := tl.Layers()
	hot := make([]uint32, 40)
	put(hot...)
	added := 0
	for _, d := range tl.Layers() {
		if !slices.Contains(before, d) {
			added++
			require.False(t, d.IsL0(), "%s", d.Name())
			require.True(t, d.Keys.Contains(rel.Block(0)), "the others have no values")
		}
	}
	require.Equal(t, 1, added)
}

// TestFaultsInDividedFlushes: whatever fails between the files of a flush, the next process finds all or nothing of it, what was
// acknowledged above all, and no file that nobody needs; and where the fault has passed the flush is made good.
func TestFaultsInDividedFlushes(t *testing.T) {
	noLeaks(t)
	stride := testkit.Size(11, 1, 1)
	for name, c := range map[string]*virtualfile.Fault{
		"crash":           {Err: syscall.EIO, Sticky: true},
		"once":            {Err: syscall.EIO},
		"full disk":       {Err: syscall.ENOSPC, Sticky: true},
		"full disk once":  {Err: syscall.ENOSPC},
		"of folders once": {Op: virtualfile.OpSyncDir, Err: syscall.ENOSPC},
		"no removal":      {Op: virtualfile.OpSync, Err: syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			n := 1
			for ; divideWithFault(t, c, n, name == "no removal"); n += stride {
			}
			require.Greater(t, n, 3)
		})
	}
}

// divideWithFault hits the operation of a number, and reports whether there was one. With another fault no file is removed after it.
func divideWithFault(t *testing.T, like *virtualfile.Fault, n int, stay bool) (hit bool) {
	mem := virtualfile.NewMem()
	begun := false
	fault := &virtualfile.Fault{Op: like.Op, Err: like.Err, Sticky: like.Sticky, Nth: n, Path: func(string) bool { return begun }}
	faults := []*virtualfile.Fault{fault}
	if stay {
		faults = append(faults, &virtualfile.Fault{Op: virtualfile.OpRemove, Nth: 1, Sticky: true, Err: syscall.EIO,
			Path: func(name string) bool {
				return fault.Hits() == 1 && fault.Seen() == n && !strings.Contains(name, "temp")
			}})
	}
	s, err := Open(context.Background(), dividedOptions(virtualfile.NewFaulty(mem, faults...), dividedAt))
	require.NoError(t, err)
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	tl, err := tn.Create(context.Background(), meta("main"))
	require.NoError(t, err)
	begun = true
	last, durable, err := fillDivided(tl, 2)
	if err != nil {
		require.Positive(t, fault.Hits(), "%v", err)
		if !fault.Sticky && !stay && fault.Err == syscall.ENOSPC {
			require.NoError(t, tl.Flush(context.Background()), "a disk that was full for a moment")
			durable = last
		}
		if !fault.Sticky {
			requireDivided(t, tl, last)
		}
	}
	for _, after := range []*virtualfile.MemFS{mem.CrashClone(uint64(n)), mem.CrashClone(uint64(n) << 8)} {
		requireWhole(t, after, durable, last)
	}
	_ = s.Close() // of a disk that fails
	requireWhole(t, mem, durable, last)
	return fault.Hits() > 0
}

// requireWhole opens the store as the next process does: it ends where a flush ended, and its folder has the layers that the
// manifest names, and no more.
func requireWhole(t *testing.T, mem *virtualfile.MemFS, durable, last page.LSN) {
	t.Helper()
	s, err := Open(context.Background(), dividedOptions(mem, dividedAt))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	tl, err := tn.Timeline("main")
	require.NoError(t, err)
	require.GreaterOrEqual(t, tl.LastRecordLSN(), durable)
	require.LessOrEqual(t, tl.LastRecordLSN(), last)
	require.Zero(t, (tl.LastRecordLSN()-firstLSN)%24, "a whole flush or none")
	requireDivided(t, tl, tl.LastRecordLSN())
	want := []string{manifest.FileName}
	for _, d := range tl.Layers() {
		want = append(want, d.FileName())
	}
	require.ElementsMatch(t, want, timelineFiles(t, mem))
}

// timelineFiles lists the timeline's folder.
func timelineFiles(t *testing.T, mem *virtualfile.MemFS) []string {
	t.Helper()
	names, err := mem.List("store/tenants")
	require.NoError(t, err)
	require.Len(t, names, 1)
	dir := "store/tenants/" + names[0] + "/timelines"
	names, err = mem.List(dir)
	require.NoError(t, err)
	require.Len(t, names, 1)
	names, err = mem.List(dir + "/" + names[0])
	require.NoError(t, err)
	return names
}
