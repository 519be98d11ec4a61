package pagebench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/page"
)

// GetPage says how pages are asked for. What is zero takes its default.
type GetPage struct {
	// Way is how pages are asked for.
	Way Way
	// Clients is the number of connections for each target; default 1.
	Clients int
	// QueueDepth is the number of requests that a client keeps under way; default 1. BatchSize is the number of consecutive pages
	// that make a request; default 1.
	QueueDepth, BatchSize int
	// Rate, if set, is the number of requests that each client begins in a second.
	Rate float64
	// OpenLoop counts latencies from when a request was to begin by Rate, and leaves none out.
	OpenLoop bool
	// Latest is the probability by which the newest version is asked for, by the largest LSN; else it is the one at the LSN of the
	// key space.
	Latest float64
	// WarmUp is how long nothing is counted; Runtime is how long requests are, 0 until the context ends.
	WarmUp, Runtime time.Duration
	// Seed chooses the pages.
	Seed uint64
	// Progress, if set, is called once a second with the requests ended and missed in it.
	Progress func(requests, missed float64)
}

func (g GetPage) withDefaults() GetPage {
	for _, p := range []*int{&g.Clients, &g.QueueDepth, &g.BatchSize} {
		if *p < 1 {
			*p = 1
		}
	}
	return g
}

// Validate reports what cannot be meant.
func (g *GetPage) Validate() error {
	switch {
	case g.Latest < 0 || g.Latest > 1:
		return fmt.Errorf("a probability of %v: 0 to 1 is wanted", g.Latest)
	case g.Rate < 0:
		return fmt.Errorf("a rate of %v", g.Rate)
	case g.OpenLoop && g.Rate == 0:
		return errors.New("an open loop needs a rate")
	}
	return nil
}

// Run asks for random pages of key spaces until Runtime is over or ctx ends, and gives what was counted till then. An error of one
// client ends all.
func (g GetPage) Run(ctx context.Context, spaces []Keyspace) (Result, error) {
	g = g.withDefaults()
	if err := g.Validate(); err != nil {
		return Result{}, err
	}
	clients, err := g.connect(ctx, spaces)
	defer func() {
		for _, c := range clients {
			c.conn.abort()
		}
	}()
	if err != nil {
		return Result{}, err
	}
	run := &running{counted: make(chan struct{})}
	if g.WarmUp <= 0 {
		close(run.counted)
	}
	limited, cancel := context.WithCancel(ctx)
	if g.Runtime > 0 {
		limited, cancel = context.WithTimeout(ctx, g.WarmUp+g.Runtime)
	}
	defer cancel()
	begin := time.Now()
	all, inner := errgroup.WithContext(limited)
	for _, c := range clients {
		all.Go(func() error { return c.run(inner, run) })
	}
	all.Go(func() error { return run.tell(inner, g.WarmUp, g.Progress) })
	err = all.Wait()
	if limited.Err() != nil && errors.Is(err, limited.Err()) {
		err = nil // the time is over, or it was interrupted
	}
	r := Result{Total: newLatencies(), Missed: run.missed.Load(), Elapsed: max(time.Since(begin)-g.WarmUp, 0), Series: run.series}
	for _, c := range clients {
		r.Total.h.Merge(c.took.h)
	}
	return r, err
}

// running is what clients have in common.
type running struct {
	counted       chan struct{} // closed once latencies count
	ended, missed atomic.Int64
	series        []Moment // written by tell
}

func (r *running) counts() bool {
	select {
	case <-r.counted:
		return true
	default:
		return false
	}
}

// A moment of Result.Series, and how many of them make a call of Progress.
const (
	moment         = 100 * time.Millisecond
	momentsToATell = 10
)

// tell ends the warm-up, notes how many requests end, and reports progress until ctx ends.
func (r *running) tell(ctx context.Context, warmUp time.Duration, progress func(requests, missed float64)) error {
	tick := time.NewTicker(moment)
	defer tick.Stop()
	warm := time.NewTimer(max(warmUp, 0))
	defer warm.Stop()
	begin := time.Now()
	var last, told Moment // with counts instead of rates
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-warm.C:
			if !r.counts() {
				close(r.counted)
			}
		case <-tick.C:
			now := Moment{time.Since(begin), float64(r.ended.Load()), float64(r.missed.Load())}
			r.series = append(r.series, now.since(last))
			last = now
			if n%momentsToATell == 0 {
				if m := now.since(told); progress != nil {
					progress(m.Requests, m.Missed)
				}
				told = now
			}
		}
	}
}

// asker is one client.
type asker struct {
	g     *GetPage
	conn  connection
	space *Keyspace
	rnd   *rand.Rand
	took  Latencies
}

func (g *GetPage) connect(ctx context.Context, spaces []Keyspace) (out []*asker, err error) {
	for i := range spaces {
		s := &spaces[i]
		for n := range g.Clients {
			c, err := g.Way.connect(ctx, s.Target, g.QueueDepth)
			if err != nil {
				return out, err
			}
			out = append(out, &asker{g: g, conn: c, space: s, rnd: rand.New(rand.NewPCG(g.Seed, uint64(i)<<32|uint64(n))), took: newLatencies()})
		}
	}
	return out, nil
}

// request is one that is under way.
type request struct {
	begun time.Time
	pages int
}

// run sends and receives until ctx ends.
func (a *asker) run(whole context.Context, r *running) error {
	ctx, cancel := context.WithCancel(whole)
	defer cancel()
	defer context.AfterFunc(ctx, a.conn.abort)()
	// A place in slots is a request that may begin; under are those that have, the oldest first.
	slots, under := make(chan struct{}, a.g.QueueDepth), make(chan request, a.g.QueueDepth)
	for range a.g.QueueDepth {
		slots <- struct{}{}
	}
	var sending sync.WaitGroup
	var sendErr error
	sending.Go(func() {
		defer close(under)
		sendErr = a.send(ctx, r, slots, under)
	})
	err := a.receive(r, slots, under)
	cancel()          // the sender may wait for room, for its time, or in a write
	for range under { // or to hand over what nobody takes
	}
	sending.Wait()
	switch {
	case whole.Err() != nil:
		return whole.Err()
	case errors.Is(sendErr, context.Canceled):
		return err
	}
	return errors.Join(err, sendErr)
}

// send begins requests, those for which there is room together with one write.
func (a *asker) send(ctx context.Context, r *running, slots <-chan struct{}, under chan<- request) error {
	p := newPacer(a.g.Rate, a.g.OpenLoop)
	var ready []request
	for {
		begun, err := p.next(ctx, slots, &r.missed)
		if err != nil {
			return err
		}
		ready = append(ready[:0], a.queue(begun))
		for full := false; !full && a.g.Rate == 0; {
			select {
			case <-slots:
				ready = append(ready, a.queue(time.Now()))
			default:
				full = true
			}
		}
		for _, x := range ready {
			under <- x
		}
		if err := a.conn.flush(); err != nil {
			return err
		}
	}
}

// queue draws a request and queues it.
func (a *asker) queue(begun time.Time) request {
	b := a.space.Draw(a.rnd, uint32(a.g.BatchSize))
	at := a.space.At
	if a.rnd.Float64() < a.g.Latest {
		at = page.MaxLSN
	}
	a.conn.queue(b, at, a.space.At)
	return request{begun, int(b.N)}
}

// receive takes the answers of requests under way.
func (a *asker) receive(r *running, slots chan<- struct{}, under <-chan request) error {
	for x := range under {
		if err := a.conn.receive(x.pages); err != nil {
			return err
		}
		if r.counts() {
			a.took.add(time.Since(x.begun))
		}
		r.ended.Add(1)
		slots <- struct{}{}
	}
	return nil
}
