//go:build unix && !race

package offheap

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const mib = 1 << 20

// seen are the runtime's numbers that say what the garbage collector has to do.
type seen struct {
	total  uint64 // memory mapped by the runtime and not returned to the system: what GOMEMLIMIT bounds
	goal   uint64 // heap size at which the next cycle begins
	scan   uint64 // bytes of the heap that a cycle has to walk
	cycles uint64
}

func look() seen {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/gc/heap/goal:bytes"},
		{Name: "/gc/scan/heap:bytes"}, {Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return seen{samples[0].Value.Uint64() - samples[4].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64(), samples[3].Value.Uint64()}
}

func touch(b []byte) {
	for at := 0; at < len(b); at += 4096 {
		b[at] = 1
	}
}

// TestRuntimeDoesNotCount shows that 256 MiB off the heap are no part of the runtime's total, move no goal, start
// no cycle and give a cycle nothing to walk, under a memory limit that they exceed too; and that the same
// on the heap does all that a limit is for, so that the numbers looked at are the right ones.
func TestRuntimeDoesNotCount(t *testing.T) {
	const size = 256 * mib
	debug.FreeOSMemory()
	start := look()
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(int64(start.total) + 64*mib))
	runtime.GC()
	before := look()

	b, err := Alloc(size)
	require.NoError(t, err)
	touch(b)
	with := look()
	require.Equal(t, before.cycles, with.cycles, "no cycle was started")
	require.Less(t, with.total, before.total+mib)
	require.Equal(t, before.goal, with.goal)
	runtime.GC()
	with = look()
	require.Less(t, with.scan, before.scan+mib)
	require.Less(t, with.goal, before.goal+mib)
	require.Equal(t, before.cycles+1, with.cycles)
	Free(b)
	require.Equal(t, with.cycles, look().cycles)

	heap := make([]byte, size)
	touch(heap)
	on := look()
	require.Greater(t, on.total, before.total+size/2)
	require.Greater(t, on.cycles, with.cycles, "the limit was exceeded")
	runtime.KeepAlive(heap)
}

// TestFreedIsReturned shows that the pages of a freed area are unmapped, not kept for later.
func TestFreedIsReturned(t *testing.T) {
	b, err := Alloc(8 * mib)
	require.NoError(t, err)
	touch(b)
	require.NoError(t, unix.Madvise(b, unix.MADV_NORMAL))
	Free(b)
	require.ErrorIs(t, unix.Madvise(b, unix.MADV_NORMAL), unix.ENOMEM, "something is mapped there")
}
