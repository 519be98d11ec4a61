package compaction

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPaceFallsWithDebt: ingest is free up to a height, slower the nearer the bound is, and stops there. What a flush may add to the records
// that a read replays has its room below the bound.
func TestPaceFallsWithDebt(t *testing.T) {
	require.EqualValues(t, FullPace, Debt{Height: 1 << 20, Records: 1 << 20}.PaceAfter(100), "without bounds")
	d := Debt{Limit: 10, Free: 6}
	for height, want := range map[int]int64{0: 1000, 6: 1000, 7: 750, 8: 500, 9: 250, 10: 0, 11: 0, 100: 0} {
		require.Equal(t, want, d.Pace(height), "at %d", height)
	}
	d.Free = 0 // half of the bound
	require.EqualValues(t, 1000, d.Pace(5))
	require.EqualValues(t, 800, d.Pace(6))
	require.Zero(t, d.Pace(10))
	for _, free := range []int{0, 1, 5} {
		require.Zero(t, Debt{Limit: 1, Free: free}.Pace(1), "the bound counts where it is below what is free")
	}

	d = Debt{RecordsLimit: 20, RecordsFree: 8, FlushRecords: 5}
	for records, want := range map[int]int64{8: 1000, 12: 500, 15: 125, 16: 0, 17: 0, 20: 0} {
		require.Equal(t, want, d.PaceRecords(records), "at %d: a flush may add 5 up to 20", records)
	}
	d.FlushRecords = 100
	require.Zero(t, d.PaceRecords(1), "a flush may be too much in any case")

	d = Debt{Height: 5, Limit: 10, Free: 6, Records: 4, RecordsLimit: 20, RecordsFree: 8, FlushRecords: 4}
	require.EqualValues(t, 1000, d.PaceAfter(1))
	require.EqualValues(t, 555, d.PaceAfter(2), "12 records")
	require.Zero(t, d.PaceAfter(4), "20 records")
	d.Records = -100
	require.EqualValues(t, 250, d.PaceAfter(4), "9 layers")
	require.Zero(t, d.PaceAfter(5))
}

// TestUnpaidDebtHoldsNobody: where nothing can be done about a debt ingest is free until the next flushes; less is owed never more.
func TestUnpaidDebtHoldsNobody(t *testing.T) {
	d := Debt{Height: 50, Limit: 10, Free: 6, Records: 90, RecordsLimit: 20, RecordsFree: 8, FlushRecords: 4}
	u := d.Unpaid()
	require.EqualValues(t, FullPace, u.PaceAfter(0))
	require.Less(t, u.PaceAfter(2), int64(FullPace))
	require.Zero(t, u.PaceAfter(4))
	for _, x := range []Debt{{}, {Height: 3, Records: 3}, {Height: 2, Limit: 10, Free: 6, Records: 1, RecordsLimit: 20, RecordsFree: 8}} {
		require.Equal(t, x, x.Unpaid(), "nothing is held back by it")
	}
	require.EqualValues(t, FullPace, Debt{Height: 9, Limit: 10}.Unpaid().PaceAfter(0), "half of the bound is free")
	tight := Debt{Height: 9, Limit: 1, Free: 5, Records: 9, RecordsLimit: 3, RecordsFree: 3, FlushRecords: 2}.Unpaid()
	require.Positive(t, tight.PaceAfter(0), "one flush at a time")
	require.Zero(t, tight.PaceAfter(1))
}
