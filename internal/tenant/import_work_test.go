package tenant

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// TestImportAtWork: jobs run at once, as many as are asked for and no more; the status says how far they are and how long the rest will take; a deletion
// calls the import off, and nothing of it stays.
func TestImportAtWork(t *testing.T) {
	noLeaks(t)
	mem := virtualfile.NewMem()
	now := time.Unix(1_800_000_000, 0)
	var mu sync.Mutex
	o := testOptions(mem)
	o.Config.Clock = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	s, tn := openLife(t, t.Context(), o)
	c := newFakeCluster(8, 10, 0)
	inside := make(chan int, 8)
	c.before = func(ctx context.Context, job, n int) error {
		if n < 5 {
			return nil
		}
		inside <- job
		<-ctx.Done()
		return ctx.Err()
	}
	three := fastImport
	three.Jobs = 3
	ended := make(chan error, 1)
	go func() {
		_, _, err := c.importInto(context.Background(), tn, three)
		ended <- err
	}()
	for range 3 {
		<-inside // all three wait in the middle
	}
	mu.Lock()
	now = now.Add(30 * time.Second)
	mu.Unlock()
	st, err := tn.Status("imported")
	require.NoError(t, err)
	require.Equal(t, Creating, st.State)
	p := *st.Import
	require.Equal(t, ImportProgress{Jobs: 8, Pages: 80, PagesDone: 15, Bytes: 80 * 200, BytesDone: 15 * 200, Left: p.Left}, p)
	require.InDelta(t, 130, p.Left.Seconds(), 0.001, "15 of 80 took 30 seconds")
	require.Equal(t, ImportStats{Running: 1, Now: ImportProgress{Jobs: 8, Pages: 80, PagesDone: 15, Bytes: 80 * 200, BytesDone: 15 * 200}}, s.Imports())
	require.Empty(t, inside)

	require.NoError(t, tn.Delete(t.Context(), "imported"))
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Empty(t, tn.Statuses())
	names, err := mem.List(tn.dir)
	require.NoError(t, err)
	require.Empty(t, names)

	// One that has jobs done, too.
	c.before = func(ctx context.Context, job, n int) error {
		if job == 7 {
			inside <- job
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	go func() {
		_, _, err := tn.Import(context.Background(), "imported", page.TimelineID{1}, three, c.open)
		ended <- err
	}()
	<-inside
	require.NoError(t, tn.Delete(t.Context(), "imported"))
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Empty(t, tn.Statuses())
	names, err = mem.List(tn.dir)
	require.NoError(t, err)
	require.Empty(t, names)
	require.NoError(t, s.Close())
}
