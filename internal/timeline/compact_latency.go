package timeline

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// latencies counts how long reads took, in classes of which each is an eighth wider than the one before or so. It
// may be added to by many.
type latencies struct {
	seen    atomic.Uint64
	classes [64 * latencySteps]atomic.Uint32
}

const (
	// latencySteps divides each power of two.
	latencySteps = 4
	// latencySample is one of how many reads is timed: a look at the clock costs as much as a step of a search.
	latencySample = 8
	// latencyQuantile is which part of the reads may be slower.
	latencyQuantile = 100
)

// wanted reports whether the next read is to be timed.
func (l *latencies) wanted() bool { return l.seen.Add(1)%latencySample == 0 }

func (l *latencies) add(d time.Duration) {
	l.classes[latencyClass(d)].Add(1)
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
