package virtualfile

import (
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// lateYield is how long a yield takes only if others compute without pause on every processor: Go takes
	// a processor from such a goroutine after 10 ms.
	lateYield = 3 * time.Millisecond
	// lateYields in a row it takes to tell that from another process's turn on a processor.
	lateYields = 3
	// minCrowded and maxCrowded bound for how long the ring is left alone then. Each time that it is tried
	// too early may cost those who read at that moment some 10 ms.
	minCrowded = 50 * time.Millisecond
	maxCrowded = 3200 * time.Millisecond
)

// crowd watches whether goroutines wait for a processor. If they do, one leader for all is the wrong thing:
// each round then waits for its leader's turn, and those who are woken for theirs. pread keeps the processor
// of its caller if the drive answers before Go's scheduler looks. With as many computing goroutines as
// processors, eight readers got 9,000 to 13,000 reads/s from pread, and 900 from the ring.
type crowd struct {
	born  time.Time
	until atomic.Int64 // nanoseconds since born; 0 while all is well
	blind bool         // never takes note: for tests that must meet the ring

	// The leader's.
	late  int           // yields in a row
	pause time.Duration // what until was last moved by
}

// now tells whether the processors are, or were a moment ago, taken.
func (c *crowd) now() bool {
	until := c.until.Load()
	return until != 0 && int64(time.Since(c.born)) < until
}

// yield lets others run, and notes how long they did. Only the leader calls it.
func (c *crowd) yield() {
	before := time.Since(c.born)
	runtime.Gosched()
	c.note(before, time.Since(c.born))
}

// note takes when a yield began and ended.
func (c *crowd) note(before, after time.Duration) {
	if after-before < lateYield || c.blind {
		c.late = 0
		if c.pause != 0 && after > time.Duration(c.until.Load())+c.pause { // it has gone well for as long
			c.pause = 0
			c.until.Store(0)
		}
		return
	}
	if c.late++; c.late < lateYields && c.pause == 0 {
		return
	}
	c.pause = min(max(2*c.pause, minCrowded), maxCrowded)
	c.until.Store(int64(after + c.pause))
}
