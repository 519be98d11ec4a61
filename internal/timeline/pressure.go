package timeline

import (
	"math"
	"sync/atomic"
	"time"
)

// Pressure says how much debt a timeline may have before Put is slowed down, and before it waits. Debt is
// what has been taken in and still costs: bytes that are not flushed, and L0 layers that every read must ask
// until they are compacted. A limit of 0 is none.
type Pressure struct {
	// UnflushedStop is the bytes in memory at which Put waits for a flush; from half of it on it is slowed
	// down.
	UnflushedStop int64
	// L0Slow and L0Stop are heights of the L0 stack: above the first Put is slowed down, at the second it
	// waits for a compaction.
	L0Slow, L0Stop int
}

// debt is 0 where Put runs freely and 1 or more where it waits; between, it says how near the stop is.
func (p *Pressure) debt(unflushed int64, height int) float64 {
	var d float64
	if p.UnflushedStop > 0 {
		slow := float64(p.UnflushedStop) / 2
		d = max(d, (float64(unflushed)-slow)/(float64(p.UnflushedStop)-slow))
	}
	if p.L0Stop > 0 {
		slow := float64(min(p.L0Slow, p.L0Stop-1))
		d = max(d, (float64(height)-slow)/(float64(p.L0Stop)-slow))
	}
	return d
}

// maxPause bounds how long one batch is held back; what is owed beyond it is forgiven, as the stop bounds
// the debt in any case.
const maxPause = time.Second

// pause is how long a batch of so many bytes is to be held back: at a debt of d, Put is to run at (1-d)/d of
// the rate at which flushes write, so that it meets that rate at half the way to the stop, and falls to
// nothing before it gets there.
func pause(debt float64, bytes int, flushRate float64) time.Duration {
	if debt <= 0 || flushRate <= 0 {
		return 0
	}
	if debt >= 1 {
		return maxPause
	}
	seconds := float64(bytes) / flushRate * debt / (1 - debt)
	return time.Duration(min(seconds, maxPause.Seconds()) * float64(time.Second))
}

// flushMeter measures how fast flushes write, with the newest counting most. One flush at a time adds to it;
// anyone may ask.
type flushMeter struct{ bits atomic.Uint64 }

// meterWeight is what the newest flush counts.
const meterWeight = 0.3

// get gives bytes per second, 0 before the first flush.
func (m *flushMeter) get() float64 { return math.Float64frombits(m.bits.Load()) }

// add notes that a flush took so long for so many bytes of memory.
func (m *flushMeter) add(bytes int64, took time.Duration) {
	if bytes <= 0 || took <= 0 {
		return
	}
	newest := float64(bytes) / took.Seconds()
	rate := m.get()
	if rate == 0 {
		rate = newest
	}
	m.bits.Store(math.Float64bits(rate + meterWeight*(newest-rate)))
}
