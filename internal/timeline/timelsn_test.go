package timeline

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
	"github.com/stratapg/strata/walredo/native"
)

// transactionRecord is a record of a test's history.
type transactionRecord struct {
	span   datadir.RecordSpan
	ends   bool
	abort  bool
	micros int64
}

// minute is the time of a record that says so many minutes.
func minute(n int64) (micros int64, at time.Time) {
	micros = n * 60e6
	return micros, datadir.TransactionEnd{Micros: micros}.Time()
}

// endTransactions puts records that end transactions, at times that go to and fro, in batches.
func endTransactions(t *testing.T, tl *Timeline, r *rand.Rand, n int) (all []transactionRecord) {
	mod := datadir.NewModification(tl, pg.V17, 0)
	for i := range n {
		rec := transactionRecord{span: datadir.RecordSpan{Start: mod.LSN(), End: mod.LSN() + page.LSN(1+r.IntN(20))*8}}
		require.NoError(t, mod.Begin(rec.span))
		if rec.ends, rec.abort = r.IntN(3) == 0, r.IntN(3) == 0; rec.ends {
			rec.micros, _ = minute(int64(i/8) + r.Int64N(12))
			mod.EndTransaction(rec.micros, rec.abort)
			v := page.Value{Kind: page.KindClogCommitted, Xids: []uint32{uint32(i + 3)}, Timestamp: rec.micros}
			if rec.abort {
				v = page.Value{Kind: page.KindClogAborted, Xids: []uint32{uint32(i + 3)}}
			}
			require.NoError(t, mod.PutSLRUValue(t.Context(), page.Clog, uint32(i+3)/32768, &v))
		}
		mod.End()
		if r.IntN(5) == 0 {
			require.NoError(t, mod.Commit(t.Context()))
		}
		all = append(all, rec)
	}
	require.NoError(t, mod.Commit(t.Context()))
	return all
}

// stopBefore is recovery_target_time: what the last record is that is replayed.
func stopBefore(all []transactionRecord, from page.LSN, after int64) (lsn page.LSN, next *transactionRecord) {
	lsn = from
	for i := range all {
		if all[i].ends && all[i].micros > after {
			return lsn, &all[i]
		}
		lsn = all[i].span.End
	}
	return lsn, nil
}

// redone has pages of the commit log made as they are.
func redone(c *Config) { c.Redoer = native.New() }

// TestLSNOfTime compares with a replay that stops, on a timeline whose transactions do not end in the order of their times,
// aborts included; with nothing written, all written, and on a branch.
func TestLSNOfTime(t *testing.T) {
	n := testkit.Size(120, 400, 4000)
	e := readEnv(t, virtualfile.NewMem(), "store", redone)
	tl := newCluster(t, e, "store")
	var b page.Batch
	b.PutImage(page.Clog.DirKey(), tl.LastRecordLSN()+8, datadir.EncodeSegments([]uint32{0}))
	b.PutImage(page.Clog.SizeKey(0), tl.LastRecordLSN()+8, datadir.EncodeSize(1))
	b.PutImage(page.Clog.Block(0, 0), tl.LastRecordLSN()+8, make([]byte, pg.BlockSize))
	require.NoError(t, tl.Put(t.Context(), &b))
	begin := tl.LastRecordLSN()
	r := rand.New(rand.NewPCG(7, 7))
	all := endTransactions(t, tl, r, n)

	check := func(tl *Timeline, all []transactionRecord, from page.LSN) {
		for m := int64(-1); m < int64(n/8)+14; m++ {
			after, at := minute(m)
			got, err := tl.lsnOfTime(t.Context(), at, from, tl.LastRecordLSN())
			require.NoError(t, err)
			want, next := stopBefore(all, from, after)
			if next == nil {
				require.Equal(t, TimeLSN{LSN: tl.LastRecordLSN(), Kind: TimeFuture}, got)
			} else {
				require.Equal(t, TimeLSN{want, TimePresent, datadir.TransactionEnd{Record: next.span, Micros: next.micros, Aborted: next.abort}}, got, "time %d", m)
			}
		}
	}
	check(tl, all, begin)
	middle := all[n/2].span.End
	check(tl, all[n/2+1:], middle)
	require.NoError(t, tl.Flush(t.Context()))
	check(tl, all, begin)

	child := newTestTimeline(t, e, filepath.Join("store", "child"), "child", middle, tl)
	mine := endTransactions(t, child, r, n/2)
	check(child, mine, middle)
	got, err := child.LSNOfTime(t.Context(), datadir.TransactionEnd{Micros: -1}.Time())
	require.NoError(t, err)
	require.Equal(t, TimeLSN{LSN: middle, Kind: TimePast}, got, "what was before is its ancestor's")
}

// TestLSNOfTimeWithoutIndex has commits that no index of records knows, as Neon's have, and behind them some that it does.
func TestLSNOfTimeWithoutIndex(t *testing.T) {
	e := readEnv(t, virtualfile.NewMem(), "store", redone)
	tl := newCluster(t, e, "store")
	start := tl.LastRecordLSN()
	var b page.Batch
	put := func(page0 uint32, m int64) page.LSN {
		lsn := tl.LastRecordLSN() + 64
		b.Reset()
		micros, _ := minute(m)
		b.PutValue(page.Clog.Block(0, page0), lsn, &page.Value{Kind: page.KindClogCommitted, Xids: []uint32{page0 * 32768}, Timestamp: micros})
		b.End = lsn
		require.NoError(t, tl.Put(t.Context(), &b))
		return lsn
	}
	b.PutImage(page.Clog.DirKey(), start+8, datadir.EncodeSegments([]uint32{0}))
	b.PutImage(page.Clog.SizeKey(0), start+8, datadir.EncodeSize(2))
	for i := range uint32(2) {
		b.PutImage(page.Clog.Block(0, i), start+8, make([]byte, pg.BlockSize))
	}
	require.NoError(t, tl.Put(t.Context(), &b))
	first := put(0, 10)
	late := put(1, 30) // commits in other order than their times
	put(0, 20)
	indexed := tl.LastRecordLSN()
	mod := datadir.NewModification(tl, pg.V17, 0)
	require.NoError(t, mod.Begin(datadir.RecordSpan{Start: mod.LSN(), End: mod.LSN() + 64}))
	micros, _ := minute(40)
	mod.EndTransaction(micros, true)
	mod.End()
	require.NoError(t, mod.Commit(t.Context()))
	for m, want := range map[int64]page.LSN{5: first - 8, 15: late - 8, 25: late - 8, 35: indexed} {
		_, at := minute(m)
		got, err := tl.LSNOfTime(t.Context(), at)
		require.NoError(t, err)
		require.Equal(t, TimePresent, got.Kind)
		require.Equal(t, want, got.LSN, "minute %d", m)
	}
	_, at := minute(45)
	got, err := tl.LSNOfTime(t.Context(), at)
	require.NoError(t, err)
	require.Equal(t, TimeLSN{LSN: tl.LastRecordLSN(), Kind: TimeFuture}, got)
}
