package upload_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// TestIndexesShareMemory: of the indexes of several timelines no more are in memory at once than there is room for, and one that cannot be
// uploaded keeps no other from it.
func TestIndexesShareMemory(t *testing.T) {
	const timelines = 4
	var running, most atomic.Int64
	held, release := make(chan struct{}), make(chan struct{})
	refused := page.TimelineID{1}.String()
	faults := faultstore.New(memstore.New(), 1,
		&faultstore.Fault{Op: faultstore.Put, Nth: 1, Sticky: true, Key: func(key string) bool { return strings.Contains(key, refused) }},
		&faultstore.Fault{Op: faultstore.Put, Nth: 1, Sticky: true, Effect: faultstore.Wait, Before: func(context.Context) {
			most.Store(max(most.Load(), running.Add(1)))
			held <- struct{}{}
			<-release
			running.Add(-1)
		}})
	documents, counters := upload.NewDocuments(1), &upload.Counters{}
	var queues []*upload.Queue
	for n := range timelines {
		q := upload.New(upload.Config{Remote: faults, FS: virtualfile.NewMem(), Place: upload.Place{Tenant: page.TenantID{9}, Timeline: page.TimelineID{byte(n + 1)}},
			Generation: 1, Validator: upload.Always{}, Deletions: &deleter{}, Logger: slog.New(slog.DiscardHandler), Clock: clock.System,
			Documents: documents, Counters: counters, Sleep: func(ctx context.Context, d time.Duration) error { return clock.Sleep(ctx, d/1000) }}, nil)
		defer func() { require.NoError(t, q.Shutdown(context.Background(), false)) }()
		q.Index(nil)
		queues = append(queues, q)
	}
	waits := func() bool { return counters.Counts().IndexWaits >= timelines-1 }
	require.Eventually(t, waits, time.Minute, time.Millisecond, "all others wait for the first")
	for range timelines - 1 {
		<-held
		release <- struct{}{}
	}
	for _, q := range queues[1:] {
		require.NoError(t, q.Wait(t.Context()))
	}
	require.EqualValues(t, 1, most.Load())
	require.Error(t, queues[0].Status().Err)
	faults.Set()
	require.NoError(t, queues[0].Wait(t.Context()))
	require.Equal(t, timelines, int(counters.Counts().Indexes))
}
