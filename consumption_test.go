package strata_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// TestConsumptionTellsWhatIsKnown has numbers appear as they become known: the logical size when it was asked for, the history
// that is kept for its time once a transaction tells the time.
func TestConsumptionTellsWhatIsKnown(t *testing.T) {
	_, tl := newTimeline(t, strata.Options{})
	ctx := t.Context()
	putAt(t, tl, page.DBDirKey, 0x1008, string(datadir.EncodeDatabases(nil)))
	names := func(before strata.ConsumptionTold) (map[string]uint64, strata.ConsumptionTold) {
		all, told, err := tl.Consumption(ctx, before)
		require.NoError(t, err)
		out := map[string]uint64{}
		for _, m := range all {
			out[m.Name] = m.Value
		}
		return out, told
	}
	got, told := names(strata.ConsumptionTold{})
	require.Equal(t, map[string]uint64{"written_data_bytes_delta": 8, "written_size": 0x1008, "written_size_since_parent": 0x1008}, got)

	mod := datadir.NewModification(tl, pg.V17, 0)
	require.NoError(t, mod.Begin(datadir.RecordSpan{Start: 0x1008, End: 0x1100}))
	require.NoError(t, mod.PutBlockImage(ctx, page.RelTag{Spc: 1663, DB: 5, Rel: 7}, 2, make([]byte, pg.BlockSize)))
	mod.EndTransaction(0, false) // on 2000-01-01
	mod.End()
	require.NoError(t, mod.Commit(ctx))
	_, ok := tl.KnownLogicalSize()
	require.False(t, ok)
	size, err := tl.LogicalSize(ctx)
	require.NoError(t, err)
	require.Equal(t, strata.LogicalSize{LSN: 0x1100, Bytes: 3 * pg.BlockSize}, size)

	got, _ = names(told)
	require.Equal(t, map[string]uint64{
		"written_data_bytes_delta": 0x1100 - 0x1008, "written_size": 0x1100, "written_size_since_parent": 0x1100,
		"pitr_history_size_since_parent": 0, "timeline_logical_size": 3 * pg.BlockSize,
	}, got, "all of the history is older than what is kept for its time")
}
