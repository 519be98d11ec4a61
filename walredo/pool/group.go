package pool

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/walredo"
)

// owner is whom processes serve.
type owner struct {
	kind   walredo.Kind
	tenant page.TenantID // zero where processes are shared
}

// owner gives whose processes serve a request.
func (p *Pool) owner(req *walredo.Request) owner {
	o := owner{kind: req.Kind()}
	if p.o.PerTenant {
		o.tenant = req.Tenant
	}
	return o
}

// group are the processes of one owner. There are as many groups as kinds of cluster, which are few, or as tenants: a group
// without processes is a few hundred bytes.
type group struct {
	pool *Pool
	kind walredo.Kind

	mu struct {
		sync.Mutex
		ready   []*process // may be given requests
		running int        // ready, or being launched, or being killed
		launch  *launch    // under way; one at a time

		failures int       // launches that failed in a row
		retryAt  time.Time // no launch before
		last     error     // why the last one failed
	}
}

// launch is a process in the making, for those who wait for it.
type launch struct {
	done chan struct{}
	err  error
}

// maxBackoffWait is the longest back-off that a request waits for. During a longer one it fails at once:
// whatever keeps processes from starting will not be over soon.
const maxBackoffWait = 250 * time.Millisecond

// process gives the process with the fewest requests, which counts one more from now on. It launches one
// where there is none, and in the background while all are busy. c's timer bounds the wait.
func (g *group) process(ctx context.Context, c *call) (*process, error) {
	for {
		p, l, pause, err := g.choose()
		if p != nil || err != nil {
			return p, err
		}
		var ready <-chan struct{}
		var over <-chan time.Time
		if l != nil {
			ready = l.done
		} else {
			t := time.NewTimer(pause)
			defer t.Stop()
			over = t.C
		}
		select {
		case <-ready:
			if l.err != nil {
				return nil, l.err
			}
		case <-over:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.timer.C:
			return nil, fmt.Errorf("%w: no process was ready in time", ErrTimeout)
		}
	}
}

// choose gives a process, or a launch to wait for, or a pause to make.
func (g *group) choose() (*process, *launch, time.Duration, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var best *process
	least := int32(math.MaxInt32)
	for _, p := range g.mu.ready {
		if n := p.load.Load(); n < least {
			best, least = p, n
		}
	}
	if best != nil {
		if least > 0 && g.mu.launch == nil && g.mu.running < g.pool.o.Processes && g.pauseLocked() <= 0 {
			// If that fails, it is not this request's trouble.
			_ = g.launchLocked()
		}
		best.load.Add(1)
		return best, nil, 0, nil
	}
	if g.mu.launch != nil {
		return nil, g.mu.launch, 0, nil
	}
	if pause := g.pauseLocked(); pause > maxBackoffWait {
		return nil, nil, 0, fmt.Errorf("%w (next try in %v): %w", ErrLaunch, pause.Round(time.Millisecond), g.mu.last)
	} else if pause > 0 {
		return nil, nil, pause, nil
	}
	if err := g.launchLocked(); err != nil {
		return nil, nil, 0, err
	}
	return nil, g.mu.launch, 0, nil
}

func (g *group) pauseLocked() time.Duration {
	if g.mu.failures == 0 {
		return 0
	}
	return g.mu.retryAt.Sub(g.pool.o.Clock())
}

func (g *group) launchLocked() error {
	l := &launch{done: make(chan struct{})}
	err := g.pool.tasks.Go(func(ctx context.Context) { g.run(ctx, l) })
	if err != nil {
		return ErrClosed
	}
	g.mu.launch = l
	g.mu.running++
	return nil
}

// run is the life of one process, from its start until nothing is left of it.
func (g *group) run(ctx context.Context, l *launch) {
	defer func() {
		g.mu.Lock()
		g.mu.running--
		g.mu.Unlock()
	}()
	p, err := g.start()
	if err != nil {
		g.launched(l, nil, err)
		return
	}
	defer p.end()
	if err := p.hello(ctx); err != nil {
		p.fail(err, false)
		p.end()
		g.launched(l, nil, p.describe(err))
		return
	}
	g.launched(l, p, nil)
	p.supervise(ctx)
}

// launched tells the outcome of a launch.
func (g *group) launched(l *launch, p *process, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.launch = nil
	if err == nil {
		g.mu.failures, g.mu.last = 0, nil
		g.mu.ready = append(g.mu.ready, p)
		close(l.done)
		return
	}
	if !errors.Is(err, ErrClosed) && !errors.Is(err, context.Canceled) {
		g.pool.metrics.launchFailures.Add(1)
		g.pool.o.Logger.Warn("redo process could not be started", "kind", g.kind.String(), "error", err)
		l.err = fmt.Errorf("%w: %w", ErrLaunch, err)
	} else {
		l.err = ErrClosed
	}
	g.mu.last = err
	g.mu.retryAt = g.pool.o.Clock().Add(g.backoff())
	g.mu.failures++
	close(l.done)
}

// backoff gives the pause after one more failure. Called with the lock held.
func (g *group) backoff() time.Duration {
	o := &g.pool.o
	// Not more doublings than any pause could bear.
	const maxDoublings = 30
	pause := o.MinBackoff << min(g.mu.failures, maxDoublings)
	if pause <= 0 || pause > o.MaxBackoff {
		pause = o.MaxBackoff
	}
	return pause
}

// remove keeps further requests from p. It reports whether p was ready and, with unused, had no request.
func (g *group) remove(p *process, unused bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, q := range g.mu.ready {
		if q == p {
			if unused && p.load.Load() > 0 {
				return false
			}
			g.mu.ready = append(g.mu.ready[:i:i], g.mu.ready[i+1:]...)
			return true
		}
	}
	return false
}
