package timeline

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/stratapg/strata/page"
)

// latencies counts how long short reads took, in classes that divide each power of two in four. It may be added to
// by many.
type latencies struct {
	seen    atomic.Uint64
	classes [64 * latencySteps]atomic.Uint32
}

const (
	// latencySteps divides each power of two.
	latencySteps = 4
	// latencySample is one of how many reads is timed: a look at the clock costs as much as a step of a search.
	latencySample = 8
	// latencyKeys is the most keys of a read that is timed.
	latencyKeys = 64
	// latencyQuantile is which part of the reads may be slower.
	latencyQuantile = 100
)

// begin gives when a read begins that is to be timed, and the zero time of any other.
func (l *latencies) begin(short bool) time.Time {
	if !short || l.seen.Add(1)%latencySample != 0 {
		return time.Time{}
	}
	return time.Now()
}

// end adds the read that began then, unless it was not to be timed.
func (l *latencies) end(begun time.Time) {
	if !begun.IsZero() {
		l.classes[latencyClass(time.Since(begun))].Add(1)
	}
}

// few reports whether a read of the keys is a short one: its latency is the drive's, not that of the work on pages.
func few(keys page.Set) bool {
	ranges := keys.Ranges()
	if len(ranges) > latencyKeys {
		return false
	}
	var total uint64
	for _, r := range ranges {
		n, known := count(r)
		if total += n; !known || total > latencyKeys {
			return false
		}
	}
	return true
}

func latencyClass(d time.Duration) int {
	n := uint64(max(d, 1))
	top := bits.Len64(n) - 1
	below := n << (63 - top) << 1 >> 62 // the two bits behind the highest
	return top*latencySteps + int(below)
}

// classEnd is the upper bound of a class.
func classEnd(c int) time.Duration {
	top, below := c/latencySteps, c%latencySteps
	if top >= 62 {
		return 1<<63 - 1
	}
	return time.Duration((uint64(latencySteps+below+1) << top) / latencySteps)
}

// drain gives the 99th percentile of what was added since the last time, and how many that were.
func (l *latencies) drain() (p99 time.Duration, n int) {
	var counts [len(l.classes)]uint32
	for i := range l.classes {
		counts[i] = l.classes[i].Swap(0)
		n += int(counts[i])
	}
	over := n / latencyQuantile
	for i := len(counts) - 1; i >= 0; i-- {
		if over -= int(counts[i]); over < 0 {
			return classEnd(i), n
		}
	}
	return 0, n
}
