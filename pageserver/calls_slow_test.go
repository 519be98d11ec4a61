package pageserver_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver"
	"github.com/stratapg/strata/pageserver/pageapi"
	"github.com/stratapg/strata/pageserver/pageapi/pb"
	"github.com/stratapg/strata/pg"
)

// TestSlowCallsUnderPressure: what clients have not taken is counted for as long as it is here, in the transport too. When another
// one needs the memory the slowest loses its connection, and in the end nothing is left.
func TestSlowCallsUnderPressure(t *testing.T) {
	const answer = 32 * pg.BlockSize
	const memory = 6 * answer // half of it is for answers in their turn
	s := serve(t, pageserver.Config{})
	g := s.calls(t, pageapi.Config{Memory: memory, Slow: 20 * time.Millisecond, Grace: 20 * time.Millisecond}, "")
	r := &pb.GetPageRequest{RequestId: &pb.RequestID{}, ReadLsn: readLSN(s.lsns[0]), Rel: relation(page.RelTag{Spc: 1663, DB: 5, Rel: 1259}), BlockNumber: make([]uint32, 32)}
	used := func() int64 { return g.s.Metrics().Memory.Used }
	slow := func() { // it has room for less than a message, and takes none
		st, err := pb.NewPageServiceClient(dialCalls(t, g.addr)).GetPages(g.ctx)
		require.NoError(t, err)
		require.NoError(t, st.Send(r))
		require.NoError(t, st.CloseSend())
	}
	for n := range int64(3) {
		slow()
		require.Eventually(t, func() bool { return used() == (n+1)*answer }, time.Minute, time.Millisecond, "%d", n)
	}
	require.EqualValues(t, 3, g.s.Metrics().Calls, "a call has not ended while its answer is here")
	require.Zero(t, g.s.Metrics().Late, "nobody else needs memory")

	quick, err := g.GetPages(g.ctx)
	require.NoError(t, err)
	for range 20 {
		require.NoError(t, quick.Send(r))
		m, err := quick.Recv()
		require.NoError(t, err)
		require.Len(t, m.Page, 32)
		require.LessOrEqual(t, used(), int64(memory/2))
	}
	require.Positive(t, g.s.Metrics().Late)
	backup, err := pb.NewPageServiceClient(dialCalls(t, g.addr)).GetBaseBackup(g.ctx, &pb.GetBaseBackupRequest{Compression: pb.BaseBackupCompression_BASE_BACKUP_COMPRESSION_NONE})
	require.NoError(t, err)
	_, err = backup.Recv()
	require.NoError(t, err)
	before := used()
	slow()
	require.Eventually(t, func() bool { return used() > before || g.s.Metrics().Late > 1 }, time.Minute, time.Millisecond)
	require.NoError(t, quick.CloseSend())
	g.stop()
	err = <-g.ended
	require.NoError(t, err)
	g.ended <- err // for the clean-up
	require.Zero(t, used())
}
