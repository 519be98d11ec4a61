package tenant

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/offheap"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// idleLimit is what an idle timeline may cost, in bytes of the heap and beside it.
const idleLimit = 64 << 10

// others is how many goroutines more than an empty one a store may have, whatever the number of its timelines.
const others = 5

// TestIdleTimelinesCostLittle: a timeline that nothing happens to has no goroutine, and little memory, with all background work
// switched on.
func TestIdleTimelinesCostLittle(t *testing.T) {
	noLeaks(t)
	for name, store := range map[string]remote.Storage{"local": nil, "remote": memstore.New()} {
		t.Run(name, func(t *testing.T) {
			count := testkit.Size(50, 1000, 10_000)
			if store != nil {
				count = testkit.Size(30, 300, 10_000)
			}
			mem := virtualfile.NewMem()
			o := testOptions(mem)
			if store != nil {
				o = remoteOptions(mem, store)
			}
			o.Config.CheckpointTimeout = time.Hour
			o.Config.Compaction.Strategy, o.Config.Compaction.Period, o.Config.GC.Period = strategyNamed(t, "legacy"), time.Hour, time.Hour
			s, tn := openLife(t, t.Context(), o)
			for i := range count {
				m := meta(fmt.Sprintf("timeline %d", i))
				m.Timeline = page.TimelineID{byte(i >> 8), byte(i), 1}
				tl, err := tn.Create(t.Context(), m)
				require.NoError(t, err)
				grow(t, tl, uint32(i))
			}
			require.NoError(t, s.Close())

			empty := o
			empty.Dir, empty.Config.FS = "empty", virtualfile.NewMem()
			if store != nil {
				empty.Config.Remote = memstore.New()
			}
			e, _ := openLife(t, t.Context(), empty)
			goroutines, heap, beside := runtime.NumGoroutine(), heapInUse(), offheap.InUse()
			require.NoError(t, e.Close())
			begin := time.Now()
			s, tn = openLife(t, t.Context(), o)
			opened := time.Since(begin)
			for _, tl := range tn.Timelines() {
				require.NoError(t, tl.WaitUploads(t.Context()))
			}
			// Those that were at work end a moment later.
			require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+others }, time.Minute, time.Millisecond)
			grown, grownBeside := int64(heapInUse())-int64(heap), offheap.InUse()-beside
			t.Logf("%d timelines, opened in %s: %d goroutines, %d bytes of heap and %d beside it for each, beyond an empty store", count,
				opened.Round(time.Millisecond), runtime.NumGoroutine()-goroutines, grown/int64(count), grownBeside/int64(count))
			require.LessOrEqual(t, (grown+grownBeside)/int64(count), int64(idleLimit))
			require.NoError(t, s.Close())
		})
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
