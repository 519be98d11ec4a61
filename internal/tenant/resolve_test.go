package tenant

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// putRecords puts one batch of records of 0x20 bytes each, with their index, as ingest does.
func putRecords(t *testing.T, tl *timeline.Timeline, n int) {
	var b page.Batch
	var x datadir.RecordIndex
	at := tl.LastRecordLSN()
	first := at + 0x20
	for range n {
		x.Add(datadir.RecordSpan{Start: at, End: at + 0x20})
		at += 0x20
	}
	b.PutImage(page.RecordsKey(first), first, x.Bytes())
	b.End, b.Prev = at, at-0x20
	require.NoError(t, tl.Put(context.Background(), &b))
}

// TestLSNMeansTheLastWholeRecord goes through every LSN of a timeline, a branch in the middle of a batch, and
// a branch of that.
func TestLSNMeansTheLastWholeRecord(t *testing.T) {
	noLeaks(t)
	ctx := context.Background()
	_, tn, main := opened(t, testOptions(virtualfile.NewMem()))
	putRecords(t, main, 10)
	branch := func(of *timeline.Timeline, name string, at page.LSN) *timeline.Timeline {
		tl, err := tn.Branch(ctx, of, name, page.TimelineID{}, at)
		require.NoError(t, err)
		return tl
	}
	child := branch(main, "child", firstLSN+0x9F) // inside the fifth record
	require.Equal(t, firstLSN+0x80, child.Meta().AncestorLSN)
	require.Equal(t, firstLSN+0x60, child.PrevRecordLSN())
	require.GreaterOrEqual(t, main.DiskConsistentLSN(), child.Meta().AncestorLSN)
	empty := branch(child, "empty", firstLSN+0x80)
	putRecords(t, child, 5)
	grand := branch(child, "grand", firstLSN+0xB0)
	require.Equal(t, firstLSN+0xA0, grand.Meta().AncestorLSN)
	putRecords(t, grand, 2)
	for _, tl := range []*timeline.Timeline{main, child, grand, empty} {
		for lsn := firstLSN + 0x20; lsn <= tl.LastRecordLSN(); lsn++ {
			span, err := tl.RecordBefore(ctx, lsn)
			require.NoError(t, err)
			want := lsn &^ 0x1F
			require.Equal(t, datadir.RecordSpan{Start: want - 0x20, End: want}, span, "%s at %s", tl.Name(), lsn)
		}
		_, err := tl.ResolveLSN(ctx, tl.LastRecordLSN()+1)
		require.ErrorIs(t, err, timeline.ErrFutureLSN)
		_, err = tl.ResolveLSN(ctx, firstLSN-1)
		require.ErrorIs(t, err, timeline.ErrBeforeHistory)
	}
}
