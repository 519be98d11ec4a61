package timeline

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
	"github.com/stratapg/strata/walredo"
)

// TestCutoffOfAHorizon: what is within the horizon, or not on disk, stays readable; the cutoff is the end of a record, and never goes back.
func TestCutoffOfAHorizon(t *testing.T) {
	ctx := context.Background()
	e := readEnv(t, virtualfile.NewMem(), "store", nil)
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	var lsns []page.LSN
	for range 10 {
		lsns = append(lsns, putLayer(t, tl, 2, true))
	}
	durable := lsns[9]
	require.NoError(t, putOne(tl, blockKey(0), []byte("not on disk")))
	last := tl.LastRecordLSN()
	now := readFirst
	for _, c := range []struct {
		horizon int64
		want    page.LSN
		why     string
	}{
		{1 << 40, readFirst, "the last 1099511627776 bytes of WAL are kept"},
		{int64(last - lsns[2]), lsns[2], "bytes of WAL are kept"},
		{int64(last-lsns[4]) - 3, lsns[4], "bytes of WAL are kept"},
		{int64(last - lsns[1]), lsns[4], "bytes of WAL are kept"},
		{int64(last-durable) + 1, lsns[8], "bytes of WAL are kept"},
		{8, durable, "not on disk yet"},
		{0, durable, "not on disk yet"},
	} {
		dry, err := tl.GC(ctx, GCRequest{Horizon: c.horizon, DryRun: true, Explain: true})
		require.NoError(t, err)
		require.Equal(t, now, tl.Cutoff(), "a dry run changes nothing")
		r, err := tl.GC(ctx, GCRequest{Horizon: c.horizon, Explain: true})
		require.NoError(t, err)
		require.Equal(t, dry, r, "what a dry run says is what comes")
		require.Equal(t, c.want, r.Cutoff, "%d", c.horizon)
		require.Equal(t, now, r.Before)
		require.Contains(t, r.Limit, c.why)
		now = c.want
		require.Equal(t, now, tl.Cutoff())
	}
	require.NoError(t, tl.Flush(ctx))
	r, err := tl.GC(ctx, GCRequest{})
	require.NoError(t, err)
	require.Equal(t, last, r.Cutoff)
	require.Equal(t, "it is the end of the timeline", r.Limit)
}

// TestDryRunsSayWhatIsDone: the plan of a dry run names each layer with a reason, and the collection after it does that and no more.
func TestDryRunsSayWhatIsDone(t *testing.T) {
	ctx := context.Background()
	e := readEnv(t, virtualfile.NewMem(), "store", nil)
	tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
	for i := range 4 {
		putLayer(t, tl, 2, i == 0)
	}
	leased := tl.LastRecordLSN() - 8
	_, err := tl.Lease(ctx, leased, time.Hour)
	require.NoError(t, err)
	makeImage(t, tl, leased-8, page.FullRange)
	makeImage(t, tl, tl.LastRecordLSN(), page.FullRange)
	before := tl.Layers()
	dry, err := tl.GC(ctx, GCRequest{DryRun: true, Explain: true})
	require.NoError(t, err)
	require.Equal(t, before, tl.Layers())
	require.Equal(t, []page.LSN{leased}, dry.Held)
	require.Equal(t, 3, dry.Removed, "two deltas below the lower image, and the last")
	require.Equal(t, 3, dry.Kept)
	require.Len(t, dry.Layers, 6)
	removed, kept := int64(0), int64(0)
	for _, l := range dry.Layers {
		if l.Removed {
			removed += l.Layer.Size
			require.Equal(t, "newer images hide it from every read", l.Reason)
			continue
		}
		kept += l.Layer.Size
		require.Contains(t, l.Reason, "may not be removed: reads at")
	}
	require.Equal(t, dry.RemovedBytes, removed)
	require.Equal(t, dry.KeptBytes, kept)
	done, err := tl.GC(ctx, GCRequest{Explain: true})
	require.NoError(t, err)
	require.Equal(t, dry, done)
	require.Len(t, tl.Layers(), 3)
	require.EqualValues(t, 3, e.Metrics().GC.Layers)
	again, err := tl.GC(ctx, GCRequest{})
	require.NoError(t, err)
	require.Zero(t, again.Removed)
}

// TestCollectionWaitsForLeases: leases do not survive a restart, so nothing is collected until they can have been taken again.
func TestCollectionWaitsForLeases(t *testing.T) {
	ctx := context.Background()
	clock, mem := newHandClock(), virtualfile.NewMem()
	env := func() *Env {
		return readEnv(t, mem, "store", func(c *Config) { c.Clock, c.GC.LeaseGrace = clock.Now, 10*time.Minute })
	}
	tl := newTestTimeline(t, env(), "store", "main", readFirst, nil)
	first := putLayer(t, tl, 2, true)
	putLayer(t, tl, 2, true)
	r, err := tl.GC(ctx, GCRequest{Horizon: 8})
	require.NoError(t, err, "nobody has a lease on a timeline that was just made")
	require.Equal(t, first, r.Cutoff)
	require.NoError(t, tl.Close())

	o, err := Open(ctx, env(), "store/"+tl.ID().String(), tl.meta.Owner(), tl.ID())
	require.NoError(t, err)
	tl, err = o.Start(nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, tl.Close()) }()
	_, err = tl.GC(ctx, GCRequest{})
	require.ErrorIs(t, err, ErrLeaseGrace)
	require.ErrorContains(t, err, "10m0s are left")
	require.Equal(t, first, tl.Cutoff())
	_, err = tl.GC(ctx, GCRequest{DryRun: true})
	require.NoError(t, err)
	_, err = tl.Lease(ctx, first, time.Hour)
	require.NoError(t, err, "it can be taken again")
	clock.pass(10*time.Minute - time.Nanosecond)
	_, err = tl.GC(ctx, GCRequest{})
	require.ErrorIs(t, err, ErrLeaseGrace)
	clock.pass(time.Nanosecond)
	r, err = tl.GC(ctx, GCRequest{})
	require.NoError(t, err)
	require.Equal(t, []page.LSN{first}, r.Held)
	_, err = tl.Get(ctx, blockKey(0), first)
	require.NoError(t, err)
}

// stamper has commits leave their times behind pages of the commit log, as redo does.
type stamper struct{ joiner }

func (s stamper) Redo(ctx context.Context, dst []byte, r *walredo.Request) ([]byte, error) {
	if _, _, _, ok := r.Key.SLRUBlock(); !ok {
		return s.joiner.Redo(ctx, dst, r)
	}
	dst = append(dst, make([]byte, pg.BlockSize)...)
	return binary.BigEndian.AppendUint64(dst, uint64(r.Records[len(r.Records)-1].Value.Timestamp)), nil
}

// commit is what the model of a commit log knows.
type commit struct {
	lsn page.LSN
	at  time.Time
}

// commits has transactions commit at times that do not ascend with LSNs, on several pages of the log, in several layers.
func commits(t *testing.T, tl *Timeline, rnd *rand.Rand, begin time.Time, n int) (all []commit) {
	var b page.Batch
	lsn := tl.LastRecordLSN() + 8
	for i := range uint32(3) {
		b.PutImage(page.Clog.Block(0, i), lsn, make([]byte, pg.BlockSize))
	}
	require.NoError(t, tl.Put(t.Context(), &b))
	for i := range n {
		b.Reset()
		lsn += page.LSN(8 * (1 + rnd.IntN(4)))
		at := begin.Add(time.Duration(i)*time.Second + time.Duration(rnd.IntN(8000)-4000)*time.Millisecond)
		v := page.Value{Kind: page.KindClogCommitted, Xids: []uint32{uint32(i)}, Timestamp: pgTime(at)}
		b.PutValue(page.Clog.Block(0, uint32(rnd.IntN(3))), lsn, &v)
		require.NoError(t, tl.Put(t.Context(), &b))
		all = append(all, commit{lsn, at})
		if rnd.IntN(6) == 0 {
			require.NoError(t, tl.Flush(t.Context()))
		}
	}
	return all
}

// lsnOf is the model: the end of the record before the first commit, by LSN, that is later than a time.
func lsnOf(all []commit, at time.Time, from, last page.LSN) TimeLSN {
	seen := false
	for _, c := range all {
		if c.lsn <= from {
			continue
		}
		if seen = true; c.at.After(at) {
			return TimeLSN{LSN: max((c.lsn-1)&^7, from), Kind: TimePresent}
		}
	}
	if seen {
		return TimeLSN{LSN: last, Kind: TimeFuture}
	}
	return TimeLSN{LSN: from, Kind: TimeUnknown}
}

// TestLSNOfATime compares the search with the model, at times all over the history, while layers are merged, images made, and the
// beginning is given up by pitr.
func TestLSNOfATime(t *testing.T) {
	ctx := context.Background()
	for range testkit.Size(1, 6, 200) {
		rnd := testkit.Rand(t, 1)
		clock := newHandClock()
		e := readEnv(t, virtualfile.NewMem(), "store", func(c *Config) { c.Clock, c.Redoer = clock.Now, stamper{} })
		tl := newTestTimeline(t, e, "store", "main", readFirst, nil)
		begin := clock.Now()
		none, err := tl.LSNOfTime(ctx, begin)
		require.NoError(t, err)
		require.Equal(t, TimeLSN{LSN: readFirst, Kind: TimeUnknown}, none)
		all := commits(t, tl, rnd, begin, 60)
		look := func() {
			t.Helper()
			from := tl.Cutoff()
			for range 30 {
				at := begin.Add(time.Duration(rnd.IntN(80)-8) * time.Second)
				want, got := lsnOf(all, at, from, tl.LastRecordLSN()), TimeLSN{}
				got, err = tl.LSNOfTime(ctx, at)
				require.NoError(t, err)
				if want.Kind == TimeUnknown && from > readFirst { // the log's pages tell of commits that are not in the history any more
					require.NotEqual(t, TimePresent, got.Kind)
					continue
				}
				if got.Kind == TimePast {
					require.True(t, slices.ContainsFunc(all, func(c commit) bool { return c.lsn <= from && c.at.After(at) }), "%s from %s", at, from)
					continue
				}
				got.Next = datadir.TransactionEnd{}
				require.Equal(t, want, got, "%s from %s", at, from)
			}
		}
		look()
		makeImage(t, tl, all[30].lsn, page.Range{Start: page.MinKey, End: compaction.SparseKeys.Start})
		look()
		// All states of the last so many seconds stay.
		for _, age := range []time.Duration{1000, 55, 30, 31, 10, 0} {
			clock.now = begin.Add(60 * time.Second)
			kept, before := age*time.Second, tl.Cutoff()
			want := lsnOf(all, clock.Now().Add(-kept), before, tl.DiskConsistentLSN())
			r, err := tl.GC(ctx, GCRequest{PITR: kept})
			require.NoError(t, err)
			switch {
			case kept == 0 || want.Kind == TimeFuture:
				require.Equal(t, tl.DiskConsistentLSN(), r.Cutoff)
			case want.Kind == TimePresent:
				require.Equal(t, max(want.LSN, before), r.Cutoff, "%s", r.Limit)
			}
			for _, c := range all { // no state of that time has gone
				if c.lsn > r.Before && c.lsn <= r.Cutoff && kept > 0 {
					require.False(t, c.at.After(clock.Now().Add(-kept)), "the commit at %s is younger than %s", c.lsn, kept)
				}
			}
			look()
		}
		require.NoError(t, tl.Close())
		require.NoError(t, e.Close())
	}
}

// TestLeaseOfWhatLiesWithinARecord: a lease holds every LSN that means its state, and what it held below the cutoff cannot be leased again
// once it has run out.
func TestLeaseOfWhatLiesWithinARecord(t *testing.T) {
	ctx, clock := t.Context(), newHandClock()
	tl := newTestTimeline(t, readEnv(t, virtualfile.NewMem(), "store", func(c *Config) { c.Clock = clock.Now }), "store", "main", readFirst, nil)
	defer func() { require.NoError(t, tl.Close()) }()
	first := putLayer(t, tl, 2, true)
	for range 3 {
		putLayer(t, tl, 2, true)
	}
	within := first + 4
	l, err := tl.Lease(ctx, within, time.Minute)
	require.NoError(t, err)
	require.Equal(t, first, l.LSN)
	r, err := tl.GC(ctx, GCRequest{})
	require.NoError(t, err)
	require.Greater(t, r.Cutoff, within)
	require.Equal(t, []page.LSN{first}, r.Held)
	for _, lsn := range []page.LSN{first, within} {
		_, err = tl.Get(ctx, blockKey(0), lsn)
		require.NoError(t, err, lsn)
	}
	_, err = tl.Get(ctx, blockKey(0), within+1)
	require.ErrorIs(t, err, ErrBeforeHistory, "it may mean the same state, but nobody has asked for it")
	clock.pass(time.Minute)
	_, err = tl.Get(ctx, blockKey(0), within)
	require.ErrorIs(t, err, ErrBeforeHistory)
	_, err = tl.Lease(ctx, within, time.Minute)
	require.ErrorIs(t, err, ErrBeforeHistory)
}
