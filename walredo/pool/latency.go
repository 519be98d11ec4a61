package pool

import (
	"sync/atomic"
	"time"
)

// LatencyBounds are the upper ends of the classes of Latency; the last class has none.
var LatencyBounds = [...]time.Duration{
	10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond,
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, time.Second, 10 * time.Second,
}

// Latency is how long requests took, those that failed too, from the call to its end with all waiting.
type Latency struct {
	Classes [len(LatencyBounds) + 1]int64 // requests of each class alone
	Total   time.Duration
}

type latency struct {
	classes [len(LatencyBounds) + 1]atomic.Int64
	total   atomic.Int64
}

func (l *latency) add(d time.Duration) {
	i := 0
	for i < len(LatencyBounds) && d > LatencyBounds[i] {
		i++
	}
	l.classes[i].Add(1)
	l.total.Add(int64(d))
}

func (l *latency) load() (x Latency) {
	for i := range l.classes {
		x.Classes[i] = l.classes[i].Load()
	}
	x.Total = time.Duration(l.total.Load())
	return x
}
