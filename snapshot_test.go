package strata_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// newTimeline gives an empty timeline that begins at LSN 0/1000.
func newTimeline(t *testing.T, o strata.Options) (*strata.Engine, *strata.Timeline) {
	o.Dir, o.CreateIfMissing, o.ValidateIO = t.TempDir(), true, true
	e, err := strata.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, err := tn.Create(t.Context(), strata.CreateOptions{Name: "main", Version: pg.V17, InitialLSN: 0x1000})
	require.NoError(t, err)
	return e, tl
}

func putAt(t *testing.T, tl *strata.Timeline, k page.Key, lsn page.LSN, value string) {
	var b page.Batch
	b.PutImage(k, lsn, []byte(value))
	require.NoError(t, tl.Put(t.Context(), &b))
}

// TestSnapshotStaysWhereItIs: what is put and flushed after it was made changes nothing in it, and what it
// holds is told and let go.
func TestSnapshotStaysWhereItIs(t *testing.T) {
	e, tl := newTimeline(t, strata.Options{})
	ctx := t.Context()
	k := page.ControlFileKey
	putAt(t, tl, k, 0x1008, "one")
	s, err := tl.Snapshot(ctx, 0x1008)
	require.NoError(t, err)
	putAt(t, tl, k, 0x1010, "two")
	require.NoError(t, tl.Flush(ctx))
	putAt(t, tl, k, 0x1018, "three")
	require.NoError(t, tl.Flush(ctx))

	v, err := s.Get(ctx, k, s.LSN())
	require.NoError(t, err)
	require.Equal(t, "one", string(v))
	_, err = s.Get(ctx, k, 0x1010)
	require.ErrorContains(t, err, "through a snapshot")
	m := e.Metrics()
	require.Equal(t, int64(1), m.Snapshots)
	require.Positive(t, m.HeldBytes, "the layer in memory that the snapshot reads")
	s.Close()
	s.Close()
	_, err = s.Get(ctx, k, s.LSN())
	require.ErrorIs(t, err, strata.ErrClosed)
	m = e.Metrics()
	require.Zero(t, m.Snapshots)
	require.Zero(t, m.HeldBytes)
	_, err = tl.Snapshot(ctx, 0x2000)
	require.ErrorIs(t, err, strata.ErrFutureLSN)
}

// TestSnapshotsEnd: a limit of age, or of what is held, ends old ones with a reason.
func TestSnapshotsEnd(t *testing.T) {
	for name, o := range map[string]strata.Options{
		"age":  {MaxSnapshotAge: time.Nanosecond},
		"held": {MaxHeldBytes: 1},
	} {
		t.Run(name, func(t *testing.T) {
			_, tl := newTimeline(t, o)
			k := page.ControlFileKey
			putAt(t, tl, k, 0x1008, "one")
			old, err := tl.Snapshot(t.Context(), 0x1008)
			require.NoError(t, err)
			defer old.Close()
			require.NoError(t, tl.Flush(t.Context()))
			require.Eventually(t, func() bool {
				s, err := tl.Snapshot(t.Context(), 0x1008)
				require.NoError(t, err)
				s.Close()
				_, err = old.Get(t.Context(), k, 0x1008)
				return err != nil
			}, time.Minute, time.Millisecond)
			_, err = old.Get(t.Context(), k, 0x1008)
			require.ErrorIs(t, err, strata.ErrSnapshotEnded)
			require.ErrorContains(t, err, "take a new one")
		})
	}
}

// TestReadTrace: a read says which layers it asked.
func TestReadTrace(t *testing.T) {
	_, tl := newTimeline(t, strata.Options{})
	k := page.ControlFileKey
	putAt(t, tl, k, 0x1008, "one")
	require.NoError(t, tl.Flush(t.Context()))
	var trace strata.ReadTrace
	_, err := tl.Get(strata.WithReadTrace(t.Context(), &trace), k, 0x1008)
	require.NoError(t, err)
	require.Equal(t, 1, trace.Rounds)
	require.Contains(t, trace.String(), tl.Layers()[0].Name())
	_, err = tl.Get(context.Background(), k, 0x1008)
	require.NoError(t, err)
	require.Equal(t, 1, trace.Rounds, "another context")
}
