package datadir

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// TestEndAfter compares the search through indexes with one through all records.
func TestEndAfter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := indexStore{}
		var all []TransactionEnd
		at, ends := page.LSN(0x1000028), []page.LSN{0x1000028}
		batchOf := map[page.LSN]page.LSN{0x1000028: 0}
		for range rapid.IntRange(1, 6).Draw(t, "batches") {
			var x RecordIndex
			first := page.LSN(0)
			for range rapid.IntRange(1, 8).Draw(t, "records") {
				start := at + page.LSN(rapid.SampledFrom([]uint64{0, 0, 40}).Draw(t, "gap"))
				at = start + page.LSN(rapid.Uint64Range(1, 100).Draw(t, "len")*8)
				r := RecordSpan{start, at}
				x.Add(r)
				if first == 0 {
					first = at
				}
				if rapid.Bool().Draw(t, "ends") {
					e := TransactionEnd{r, rapid.Int64Range(-20, 20).Draw(t, "time"), rapid.Bool().Draw(t, "aborted")}
					x.AddEnd(e.Micros, e.Aborted)
					all = append(all, e)
				}
				ends, batchOf[at] = append(ends, at), first
			}
			s[first] = append([]byte(nil), x.Bytes()...)
			var got, want []TransactionEnd
			require.NoError(t, EachTransactionEnd(s[first], func(e TransactionEnd) bool { got = append(got, e); return true }))
			for _, e := range all {
				if e.Record.End >= first {
					want = append(want, e)
				}
			}
			require.Equal(t, want, got)
		}
		from, to := rapid.SampledFrom(ends).Draw(t, "from"), rapid.SampledFrom(ends).Draw(t, "to")
		after := rapid.Int64Range(-22, 22).Draw(t, "after")
		found, err := At(s, to, pg.V17).EndAfter(context.Background(), batchOf[from], from, after)
		require.NoError(t, err)
		for _, e := range all {
			if e.Record.End > from && e.Record.End <= to && e.Micros > after {
				require.True(t, found.Found)
				require.Equal(t, e, found.TransactionEnd)
				return
			}
		}
		require.False(t, found.Found)
	})
}

// FuzzTransactionEnds: no index of any bytes makes the decoders panic, and every end is one of the records.
func FuzzTransactionEnds(f *testing.F) {
	var x RecordIndex
	x.Add(RecordSpan{0x100, 0x180})
	x.AddEnd(math.MaxInt64, true)
	x.Add(RecordSpan{0x198, 0x200})
	x.Add(RecordSpan{0x200, 0x208})
	x.AddEnd(math.MinInt64, false)
	f.Add(x.Bytes())
	f.Add([]byte{2, 0, 0, 0, 0, 0, 0, 0, 8, 2, 2, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		var records, ends []RecordSpan
		errRecords := EachRecord(b, func(r RecordSpan) bool { records = append(records, r); return true })
		err := EachTransactionEnd(b, func(e TransactionEnd) bool { ends = append(ends, e.Record); return true })
		for _, e := range ends {
			require.Contains(t, records, e)
		}
		if err == nil && errRecords == nil {
			require.LessOrEqual(t, len(ends), len(records))
		}
	})
}
