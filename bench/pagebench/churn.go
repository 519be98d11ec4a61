package pagebench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Churn has layers evicted and downloaded again, one by one and at random.
type Churn struct {
	API *API
	// Tasks work on each target, each with Concurrency calls under way and with a list of layers of its own; defaults 1.
	Tasks, Concurrency int
	// Runtime is how long; 0 until the context ends.
	Runtime time.Duration
	// Seed chooses the layers.
	Seed uint64
	// Progress, if set, is called once a second with what was done in it.
	Progress func(Churned)
}

// Churned is what was done: calls that found something to do. Restarts count how often the layers of a timeline were listed,
// at first and when a call found that the list had become wrong.
type Churned struct {
	Downloads       int64
	DownloadedBytes int64
	Evictions       int64
	Restarts        int64
	Elapsed         time.Duration
}

// MarshalJSON gives the form of Neon's pagebench.
func (c Churned) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Downloads       int64  `json:"downloads_count"`
		DownloadedBytes int64  `json:"downloads_bytes"`
		Evictions       int64  `json:"evictions_count"`
		Restarts        int64  `json:"timeline_restarts"`
		Runtime         string `json:"runtime"`
	}{c.Downloads, c.DownloadedBytes, c.Evictions, c.Restarts, HumanTime(c.Elapsed)})
}

// churnCounts are Churned while it is counted.
type churnCounts struct{ downloads, bytes, evictions, restarts atomic.Int64 }

func (c *churnCounts) sum() Churned {
	return Churned{Downloads: c.downloads.Load(), DownloadedBytes: c.bytes.Load(), Evictions: c.evictions.Load(), Restarts: c.restarts.Load()}
}

// Run works until Runtime is over or ctx ends.
func (c Churn) Run(ctx context.Context, targets []Target) (Churned, error) {
	c.Tasks, c.Concurrency = max(c.Tasks, 1), max(c.Concurrency, 1)
	limited, cancel := context.WithCancel(ctx)
	if c.Runtime > 0 {
		limited, cancel = context.WithTimeout(ctx, c.Runtime)
	}
	defer cancel()
	begin := time.Now()
	var counts churnCounts
	all, inner := errgroup.WithContext(limited)
	for i, t := range targets {
		for n := range c.Tasks {
			seed := rand.NewPCG(c.Seed, uint64(i)<<32|uint64(n))
			all.Go(func() error { return c.task(inner, t, rand.New(seed), &counts) })
		}
	}
	all.Go(func() error { return c.tell(inner, &counts) })
	err := all.Wait()
	if limited.Err() != nil && errors.Is(err, limited.Err()) {
		err = nil // the time is over, or it was interrupted
	}
	out := counts.sum()
	out.Elapsed = time.Since(begin)
	return out, err
}

func (c *Churn) tell(ctx context.Context, counts *churnCounts) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := (Churned{}); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			now := counts.sum()
			if c.Progress != nil {
				c.Progress(Churned{now.Downloads - last.Downloads, now.DownloadedBytes - last.DownloadedBytes,
					now.Evictions - last.Evictions, now.Restarts - last.Restarts, time.Second})
			}
			last = now
		}
	}
}

// pause is how long a task waits that could do nothing with any layer.
const pause = 20 * time.Millisecond

// task lists the layers of a timeline and churns them, again and again.
func (c *Churn) task(ctx context.Context, t Target, rnd *rand.Rand, counts *churnCounts) error {
	for ctx.Err() == nil {
		layers, err := c.API.Layers(ctx, t)
		if err != nil {
			return errors.Join(ctx.Err(), err)
		}
		if len(layers) == 0 {
			return fmt.Errorf("timeline %s has no layers", t)
		}
		counts.restarts.Add(1)
		did, err := c.churn(ctx, t, layers, rnd, counts)
		if err != nil {
			return errors.Join(ctx.Err(), err)
		}
		if !did {
			_ = sleepUntil(ctx, time.Now().Add(pause))
		}
	}
	return ctx.Err()
}

// churn works by one list of layers until that turns out to be wrong. A layer has one call under way at a time.
func (c *Churn) churn(ctx context.Context, t Target, layers []Layer, rnd *rand.Rand, counts *churnCounts) (did bool, err error) {
	var mu sync.Mutex // guards rnd, idle and layers
	idle := make([]int, len(layers))
	for i := range idle {
		idle[i] = i
	}
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		n := rnd.IntN(len(idle))
		i := idle[n]
		idle[n] = idle[len(idle)-1]
		idle = idle[:len(idle)-1]
		return i
	}
	var wrong, some atomic.Bool
	calls, inner := errgroup.WithContext(ctx)
	for range min(c.Concurrency, len(layers)) {
		calls.Go(func() error {
			for !wrong.Load() && inner.Err() == nil {
				i := take()
				l := &layers[i]
				done, err := c.turn(inner, t, l, counts)
				if err != nil {
					return err
				}
				if !done {
					wrong.Store(true)
					return nil
				}
				some.Store(true)
				mu.Lock()
				idle = append(idle, i)
				mu.Unlock()
			}
			return inner.Err()
		})
	}
	err = calls.Wait()
	return some.Load(), err
}

// turn evicts a layer that is there, or downloads one that is not. done says that there was something to do.
func (c *Churn) turn(ctx context.Context, t Target, l *Layer, counts *churnCounts) (done bool, err error) {
	method := http.MethodDelete
	if l.Remote {
		method = http.MethodGet
	}
	done, err = c.API.did(ctx, method, fmt.Sprintf("/v1/tenant/%s/timeline/%s/layer/%s", t.Tenant, t.Timeline, url.PathEscape(l.Name)))
	switch {
	case err != nil || !done:
	case l.Remote:
		counts.downloads.Add(1)
		counts.bytes.Add(l.Size)
	default:
		counts.evictions.Add(1)
	}
	l.Remote = l.Remote != done
	return done, err
}

// Layer is one of a timeline, as the management API lists it.
type Layer struct {
	Name   string `json:"layer_file_name"`
	Size   int64  `json:"layer_file_size"`
	Remote bool   `json:"remote"` // only there
}

// Layers lists the layers of a timeline.
func (a *API) Layers(ctx context.Context, t Target) ([]Layer, error) {
	var out struct {
		Historic []Layer `json:"historic_layers"`
	}
	err := a.call(ctx, http.MethodGet, fmt.Sprintf("/v1/tenant/%s/timeline/%s/layer", t.Tenant, t.Timeline), "", &out)
	return out.Historic, err
}
