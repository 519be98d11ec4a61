package timeline

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/virtualfile"
)

const (
	// backgroundTransfer is the longest transfer of background work, and all that one of its readers has in flight:
	// what a reader in the foreground finds before it in the queue of the drive.
	backgroundTransfer = 128 << 10
	// paceWindow is how long reads are watched before background work is made slower or faster.
	paceWindow = 250 * time.Millisecond
	// paceSamples is how many reads must have been watched for their latency to mean anything.
	paceSamples = 50
	// paceSlower is the multiple of the idle latency at which background work is made slower, paceLess to how much of what
	// it did in that window.
	paceSlower = 2
	paceLess   = 0.6
	// paceFaster is by how much it grows again in each window without such; paceAlone that in a window with hardly any
	// reads.
	paceFaster = 1.08
	paceAlone  = 4
	// firstPace is what background work begins with while there are reads: they are not to find out how much is too much.
	firstPace = 128 << 20
	// leastPace is what background work always may do: it has to end some day.
	leastPace = 32 << 20
	// paceBurst is how far background work may be ahead of its pace, so that timers are not set for every transfer; paceEven that
	// while there are reads: what may be 10 ms ahead then has a dozen transfers, of as many inputs, before a read in the drive's queue.
	paceBurst = 10 * time.Millisecond
	paceEven  = 500 * time.Microsecond
)

// ioPace bounds the bytes a second that background work reads and writes. It lessens them while the latency of reads
// is well above what it is without background work, and lets them grow again. Most of what reads suffer from is not the
// drive but that processors are taken: so whoever works yields often (yieldEvery), and while there are reads a job keeps
// to one lane.
type ioPace struct {
	clock clock.Clock
	limit float64 // bytes a second; 0 is none
	reads latencies
	mu    struct {
		sync.Mutex
		running int     // background jobs
		rate    float64 // 0 is none
		next    time.Time
		idle    time.Duration // latency without background work; 0 while it is not known
		watched bool          // there were reads in the window before
		begun   time.Time     // of the window
		bytes   int64         // in it
	}
	waited  atomic.Int64 // nanoseconds
	slowed  atomic.Int64 // times that the rate was lessened
	reading virtualfile.Background
}

func newPace(c clock.Clock, bytesPerSecond int64) *ioPace {
	p := &ioPace{clock: c, limit: float64(bytesPerSecond)}
	p.mu.rate = p.limit
	p.reading = virtualfile.Background{Transfer: backgroundTransfer, Wait: p.wait}
	return p
}

// inBackground makes the reads under the context those of background work.
func (e *Env) inBackground(ctx context.Context) context.Context {
	return virtualfile.WithBackground(ctx, &e.pace.reading)
}

// begin says that background work begins. What reads took until now is what they take without.
func (p *ioPace) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.running++; p.mu.running > 1 {
		return
	}
	took, n := p.reads.drain()
	if p.mu.watched = n >= paceSamples; p.mu.watched {
		p.mu.idle = took
		if p.mu.rate = firstPace; p.limit > 0 {
			p.mu.rate = min(firstPace, p.limit)
		}
	}
	p.mu.begun, p.mu.bytes = p.clock(), 0
}

// end says that background work ends.
func (p *ioPace) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.running--; p.mu.running == 0 {
		p.reads.drain()
	}
}

// wait holds background work back before so many bytes. It lets go of the processor in any case: whoever has become
// ready while it computed does not wait until the runtime interrupts it, which is as long as many reads.
func (p *ioPace) wait(ctx context.Context, bytes int) error {
	d, most := p.charge(int64(bytes))
	if d < most {
		runtime.Gosched()
		return ctx.Err()
	}
	p.waited.Add(int64(d))
	return clock.Sleep(ctx, d)
}

// charge counts bytes, and gives how long they have to wait if that is not less than most.
func (p *ioPace) charge(bytes int64) (d, most time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock()
	p.mu.bytes += bytes
	if took := now.Sub(p.mu.begun); took >= paceWindow {
		p.adaptLocked(took)
		p.mu.begun, p.mu.bytes = now, 0
	}
	most = paceBurst
	if p.mu.watched {
		most = paceEven
	}
	if p.mu.rate == 0 {
		return 0, most
	}
	if p.mu.next.Before(now) {
		p.mu.next = now
	}
	d = p.mu.next.Sub(now)
	p.mu.next = p.mu.next.Add(time.Duration(float64(bytes) / p.mu.rate * float64(time.Second)))
	return d, most
}

// adaptLocked looks at the reads of a window.
func (p *ioPace) adaptLocked(took time.Duration) {
	done := float64(p.mu.bytes) / took.Seconds()
	latency, n := p.reads.drain()
	p.mu.watched = n >= paceSamples
	switch {
	case n >= paceSamples && p.mu.idle > 0 && latency > paceSlower*p.mu.idle:
		from := done
		if p.mu.rate > 0 {
			from = min(done, p.mu.rate)
		}
		p.mu.rate = max(from*paceLess, leastPace)
		p.slowed.Add(1)
	case p.mu.rate == 0 || p.mu.rate == p.limit:
	default:
		p.fasterLocked(done, n)
	}
}

// fasterLocked lets the rate grow, unless it is not what holds the work back.
func (p *ioPace) fasterLocked(done float64, reads int) {
	if p.limit == 0 && p.mu.rate > 4*done {
		if reads < paceSamples {
			p.mu.rate = 0
		}
		return
	}
	if reads < paceSamples {
		p.mu.rate *= paceAlone
	} else {
		p.mu.rate *= paceFaster
	}
	if p.limit > 0 {
		p.mu.rate = min(p.mu.rate, p.limit)
	}
}

// gentle reports whether there are reads which more goroutines of background work would keep from a processor.
func (p *ioPace) gentle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.watched
}

// rate gives the bytes a second that are allowed now; 0 is no limit.
func (p *ioPace) rate() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int64(p.mu.rate)
}
