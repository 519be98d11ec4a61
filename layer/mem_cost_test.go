package layer

import (
	"math"
	"runtime"
	"runtime/metrics"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// gcCost is what the garbage collector has to do, and what its last collections did.
type gcCost struct {
	scan, objects uint64  // bytes of the heap that it looks at, objects on the heap
	assist        float64 // seconds of processor time that allocating goroutines spent for it, ever
	pauses        *metrics.Float64Histogram
}

func readGC() gcCost {
	runtime.GC()
	s := []metrics.Sample{
		{Name: "/gc/scan/heap:bytes"},
		{Name: "/gc/heap/objects:objects"},
		{Name: "/cpu/classes/gc/mark/assist:cpu-seconds"},
		{Name: "/sched/pauses/total/gc:seconds"},
	}
	metrics.Read(s)
	return gcCost{s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Float64(), s[3].Value.Float64Histogram()}
}

// longestPause gives the upper bound of the longest pause between two readings.
func longestPause(before, after *metrics.Float64Histogram) float64 {
	for i := len(after.Counts) - 1; i >= 0; i-- {
		if after.Counts[i] > before.Counts[i] {
			return after.Buckets[i+1]
		}
	}
	return 0
}

// fillIndex enters n values of no bytes, and gives the most memory that an entry took at any time from half of
// them on, while the hash doubled.
func fillIndex(m *Mem, n int, last func(i uint32) uint32) (most float64) {
	entries, places := make([]page.BatchEntry, putSteps), make([]uint64, putSteps)
	for i := 0; i < n; i += putSteps {
		for j := range entries {
			entries[j] = page.BatchEntry{Key: page.Key{F1: 0, F2: 1663, F3: 5, F4: 16384, F6: last(uint32(i + j))}, LSN: page.LSN(8 + i + j)}
		}
		m.index(entries, places)
		if have := i + putSteps; have >= n/2 {
			most = max(most, float64(m.Memory())/float64(have))
		}
	}
	return most
}

// An entry costs at most 48 bytes, wherever its key lies and however far the hash has grown (in small layers, whose
// blocks are not full, it is more), and nothing that the garbage collector has to look at: it has as much to do
// with ten million entries as with none.
func TestMemEntriesAreCheap(t *testing.T) {
	const maxBytes = 48
	n := testkit.Size(300_000, 1_000_000, 10_000_000)
	for name, last := range map[string]func(i uint32) uint32{
		"sequential": func(i uint32) uint32 { return i },
		"random":     func(i uint32) uint32 { return i * 2654435761 },
		"reused":     func(i uint32) uint32 { return i * 2654435761 & 0x3FF },
	} {
		t.Run(name, func(t *testing.T) {
			before := readGC()
			for range 5 {
				runtime.GC()
			}
			empty := readGC()
			m := NewMem(8, nil)
			defer m.Release()
			most := fillIndex(m, n, last)
			filled := readGC()
			for range 5 {
				runtime.GC()
			}
			after := readGC()
			t.Logf("%d entries: %.1f bytes each, at most %.1f, off the heap; the collector looks at %d bytes, %d before; longest pause %.0f µs, %.0f before; assists %.0f µs",
				m.Len(), float64(m.Memory())/float64(n), most, after.scan, empty.scan,
				longestPause(filled.pauses, after.pauses)*1e6, longestPause(before.pauses, empty.pauses)*1e6, (after.assist-filled.assist)*1e6)
			perEntry := most
			if !testkit.UnderRace { // or off the heap is on the heap
				perEntry += math.Max(0, float64(after.scan)-float64(empty.scan)) / float64(n)
				require.Less(t, float64(after.scan)-float64(empty.scan), float64(n)/4+1<<16, "bytes to look at")
				require.Less(t, float64(after.objects)-float64(empty.objects), float64(n)/500, "objects")
			}
			require.LessOrEqual(t, perEntry, float64(maxBytes))
			runtime.KeepAlive(m)
		})
	}
}

// Puts allocate nothing for a value.
func TestMemPutsAllocateLittle(t *testing.T) {
	var b page.Batch
	for i := range 16 {
		b.PutImage(modelKey(i), 8, make([]byte, 100))
	}
	m := NewMem(8, nil)
	defer m.Release()
	allocs := testing.AllocsPerRun(1000, func() {
		if m.Put(t.Context(), &b) != nil {
			t.Fatal()
		}
	})
	require.Less(t, allocs, 1.0, "in a batch of 16; a block now and then")
}

// A walk through spilled values holds no more than it says, in either order; the buffers of the walk are all that the disk lends.
func TestMemWalksHoldWhatTheySay(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	n := uint32(testkit.Size(1_600_000, 1_600_000, 4_000_000))
	for name, last := range map[string]func(i uint32) uint32{
		"sequential": func(i uint32) uint32 { return i },
		"random":     func(i uint32) uint32 { return i * 2654435761 },
	} {
		t.Run(name, func(t *testing.T) {
			d := memDisk(t, virtualfile.NewMem())
			m := NewMem(8, memPool(t, d, 1<<20, 64<<10))
			defer m.Release()
			value := make([]byte, 64)
			for i := range n {
				k := modelKey(0)
				k.F6 = last(i)
				memPutRaw(t, m, k, 8, false, value)
			}
			m.Freeze(16)
			before, most := d.Metrics().BuffersInUse, int64(0)
			require.NoError(t, m.Iterate(t.Context(), func(page.Key, page.LSN, bool, []byte) error {
				most = max(most, d.Metrics().BuffersInUse-before)
				return nil
			}))
			require.Less(t, int64(8<<20), most, "windows were full")
			require.LessOrEqual(t, most+4*int64(n), m.WalkMemory())
		})
	}
}
