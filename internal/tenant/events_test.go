package tenant

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// TestStallsAreReported: a put that waits for a flush says so before it waits and after, a try says nothing.
func TestStallsAreReported(t *testing.T) {
	noLeaks(t)
	g := gate{virtualfile.NewMem(), make(chan struct{})}
	o := testOptions(g)
	o.Config.CheckpointDistance, o.Config.MaxFrozen = 1<<30, 8
	o.Config.Pressure = timeline.Pressure{UnflushedStop: 64 << 10}
	var begin timeline.StallInfo
	o.Config.Events.StallBegin = func(i timeline.StallInfo) {
		begin = i
		close(g.open) // nothing else lets it go on
	}
	ends := make(chan timeline.StallInfo, 1)
	o.Config.Events.StallEnd = func(i timeline.StallInfo) { ends <- i }
	s, _, tl := opened(t, o)
	lsn := firstLSN + 8
	for ; s.Metrics().PutWaits == 0; lsn += 8 {
		require.Empty(t, ends)
		require.NoError(t, putImage(tl, modelKeys[0], lsn, make([]byte, 4<<10)))
	}
	end := <-ends
	require.NotZero(t, begin.JobID)
	require.Equal(t, begin.JobID, end.JobID)
	require.Equal(t, tl.ID(), begin.Timeline)
	require.GreaterOrEqual(t, begin.Unflushed, int64(64<<10))
	require.Less(t, end.Unflushed, begin.Unflushed)
	require.Equal(t, 0, begin.L0Height)
	require.Equal(t, 1, end.L0Height)
	require.EqualValues(t, 1, s.Metrics().PutWaits)
}

// TestReserveIsReported: that a full disk took the reserve, and that it is held again.
func TestReserveIsReported(t *testing.T) {
	noLeaks(t)
	var armed atomic.Bool
	full := &virtualfile.Fault{Op: virtualfile.OpWrite, Nth: 1, Err: syscall.ENOSPC, Path: func(name string) bool {
		return armed.Load() && strings.Contains(name, manifest.FileName)
	}}
	o := testOptions(virtualfile.NewFaulty(virtualfile.NewMem(), full))
	o.ReserveBytes = 64 << 10
	var said []string
	note := func(what string) func(timeline.ReserveInfo) {
		return func(i timeline.ReserveInfo) {
			require.Equal(t, o.ReserveBytes, i.Bytes)
			require.Contains(t, i.Manifest, manifest.FileName)
			said = append(said, what)
		}
	}
	o.Config.Events.ReserveUsed, o.Config.Events.ReserveHeld = note("used"), note("held")
	s, _, tl := opened(t, o)
	require.Equal(t, o.ReserveBytes, s.Metrics().ReserveBytes)
	require.NoError(t, putImage(tl, modelKeys[0], firstLSN+8, []byte("x")))
	armed.Store(true)
	require.NoError(t, tl.Flush(context.Background()))
	require.Equal(t, []string{"used", "held"}, said)
}

// TestEngineFallbackIsReported: a store that may not use io_uring opens, and says why it does without.
func TestEngineFallbackIsReported(t *testing.T) {
	noLeaks(t)
	t.Setenv("STRATA_IO_URING", "off")
	for engine, want := range map[virtualfile.EngineKind]int{virtualfile.EngineDefault: 1, virtualfile.EngineURing: 1, virtualfile.EngineStd: 0} {
		o := testOptions(virtualfile.NewMem())
		o.Config.IOEngine = engine
		var errs []error
		o.Config.Events.EngineFallback = func(i timeline.EngineFallbackInfo) { errs = append(errs, i.Err) }
		s, _, _ := opened(t, o)
		require.Len(t, errs, want)
		require.Equal(t, virtualfile.EngineStd, s.Metrics().Disk.Engine)
	}
}

// TestGapsAreTold: WAL without values leaves a gap in the L0 stack, which the next process tells.
func TestGapsAreTold(t *testing.T) {
	noLeaks(t)
	ctx := context.Background()
	var said bytes.Buffer
	o := testOptions(virtualfile.NewMem())
	o.Config.Logger = slog.New(slog.NewTextHandler(&said, nil))
	s, _, tl := opened(t, o)
	for i := range page.LSN(3) {
		b := page.Batch{End: firstLSN + 8*(i+1)}
		if i != 1 {
			b.PutImage(modelKeys[0], b.End, []byte("x"))
		}
		require.NoError(t, tl.Put(ctx, &b))
		require.NoError(t, tl.Flush(ctx))
	}
	require.NoError(t, s.Close())
	require.NotContains(t, said.String(), "gap")
	s, err := Open(ctx, o)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.Equal(t, 1, strings.Count(said.String(), "there is a gap in the L0 stack"))
	require.NotContains(t, said.String(), "overlap")
}

// TestL0HeightIsAMetric: that of the timeline with the tallest stack, and the sum, as long as they are open.
func TestL0HeightIsAMetric(t *testing.T) {
	noLeaks(t)
	ctx := context.Background()
	o := testOptions(virtualfile.NewMem())
	s, ten, tl := opened(t, o)
	grow := func(tl *timeline.Timeline, n int) {
		for range n {
			require.NoError(t, putImage(tl, modelKeys[0], tl.LastRecordLSN()+8, []byte("x")))
			require.NoError(t, tl.Flush(ctx))
		}
	}
	grow(tl, 3)
	other, err := ten.Create(ctx, meta("other"))
	require.NoError(t, err)
	grow(other, 2)
	m := s.Metrics()
	require.EqualValues(t, 3, m.L0Height)
	require.EqualValues(t, 5, m.L0Layers)
	require.NoError(t, s.Close())
	o.CreateIfMissing = false
	s, err = Open(ctx, o)
	require.NoError(t, err)
	defer s.Close()
	m = s.Metrics()
	require.EqualValues(t, 3, m.L0Height)
	require.EqualValues(t, 5, m.L0Layers)
}
