package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/internal/tasks"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/wire"
)

// Pool is redo in processes.
type Pool struct {
	o       Options
	share   *budget.Share
	slots   chan struct{} // one token for each call that lives
	tasks   *tasks.Group
	starter starter
	metrics metrics
	pools

	mu struct {
		sync.Mutex
		groups map[owner]*group
	}
}

var _ walredo.Redoer = (*Pool)(nil)

// New makes a pool. Nothing is launched before it is needed. A pool that was used needs Close.
func New(o Options) (*Pool, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("redo pool: %w", err)
	}
	o = o.withDefaults()
	share, err := o.share()
	if err != nil {
		return nil, fmt.Errorf("redo pool: %w", err)
	}
	p := &Pool{o: o, share: share, slots: make(chan struct{}, o.MaxRequests), tasks: tasks.New()}
	p.starter.init(p.tasks)
	p.mu.groups = map[owner]*group{}
	return p, nil
}

// Close kills all processes and waits for them. Requests under way fail with ErrClosed.
func (p *Pool) Close() error {
	p.tasks.Stop()
	return nil
}

// Redo implements walredo.Redoer under Options.Policy. It refuses what is no relation's block and values that are no
// record of PostgreSQL with walredo.ErrUnsupported.
func (p *Pool) Redo(ctx context.Context, dst []byte, req *walredo.Request) ([]byte, error) {
	return p.redo(ctx, dst, req, p.o.Policy)
}

// With gives the same pool under another policy. Closing it does nothing.
func (p *Pool) With(policy Policy) walredo.Redoer { return view{p, policy.withDefaults()} }

type view struct {
	p      *Pool
	policy Policy
}

func (v view) Redo(ctx context.Context, dst []byte, req *walredo.Request) ([]byte, error) {
	return v.p.redo(ctx, dst, req, v.policy)
}

func (v view) Close() error { return nil }

// Ping sends an empty question through a process of the kind, and launches one if there is none.
func (p *Pool) Ping(ctx context.Context, k walredo.Kind) error {
	c := p.newCall()
	defer c.release()
	c.put(wire.AppendPing(nil))
	if err := p.send(ctx, c, owner{kind: k}, p.o.Policy); err != nil {
		return fmt.Errorf("redo pool: ping of %s: %w", k, err)
	}
	if !bufpage.Page(c.page[:]).IsZero() {
		return fmt.Errorf("redo pool: ping of %s: %w: the answer is not zeros", k, ErrProcess)
	}
	return nil
}

func (p *Pool) redo(ctx context.Context, dst []byte, req *walredo.Request, policy Policy) ([]byte, error) {
	p.metrics.requests.Add(1)
	start := p.o.Clock()
	out, err := p.tryRedo(ctx, dst, req, policy)
	p.metrics.latency.add(p.o.Clock().Sub(start))
	if err == nil {
		p.metrics.pages.Add(1)
		return out, nil
	}
	p.metrics.count(err)
	var e *walredo.Error
	if !errors.As(err, &e) {
		e = &walredo.Error{Key: req.Key, Err: err}
		if n := len(req.Records); n == 1 {
			e.LSN = req.Records[0].LSN
		}
		err = e
	}
	return dst, err
}

// count sorts a failure.
func (m *metrics) count(err error) {
	switch {
	case errors.Is(err, ErrTimeout):
		m.timeouts.Add(1)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		m.cancelled.Add(1)
	case errors.Is(err, ErrProcess), errors.Is(err, ErrLaunch), errors.Is(err, ErrClosed):
		m.failed.Add(1)
	default:
		m.refused.Add(1)
	}
}

func (p *Pool) tryRedo(ctx context.Context, dst []byte, req *walredo.Request, policy Policy) ([]byte, error) {
	w, err := workOf(req)
	if err != nil {
		return nil, err
	}
	if w.size > p.o.MaxRequest {
		return nil, fmt.Errorf("%w: %d bytes of %d records, the limit is %d", ErrTooLarge, w.size, len(w.records), p.o.MaxRequest)
	}
	c := p.newCall()
	defer c.release()
	// The clock runs from here, the wait for memory included.
	deadline := c.limit(policy.Timeout)
	if err := p.room(ctx, c, w.size+wire.AnswerSize); err != nil {
		return nil, err
	}
	w.encode(c)
	for n := 1; ; n++ {
		proc, err := p.attempt(ctx, c, p.owner(req), policy, deadline, &n)
		if err != nil {
			return nil, err
		}
		if f, ok := wire.ParseFailure(c.page[:]); ok {
			return nil, f.Err(req.Key)
		}
		if err = w.check(c.page[:]); err == nil {
			return append(dst, c.page[:]...), nil
		}
		// Nobody else in the pipe is to blame for that.
		proc.fail(fmt.Errorf("%w: %w", errNonsense, err), false)
		if n >= policy.Attempts {
			return nil, fmt.Errorf("%w: %s answered %w", ErrProcess, proc, err)
		}
		p.metrics.retries.Add(1)
		c.again()
	}
}

// send is an attempt, and further ones, without a look at the answer.
func (p *Pool) send(ctx context.Context, c *call, k owner, policy Policy) error {
	deadline := c.limit(policy.Timeout)
	if err := p.room(ctx, c, c.size+wire.AnswerSize); err != nil {
		return err
	}
	n := 1
	_, err := p.attempt(ctx, c, k, policy, deadline, &n)
	return err
}

// attempt gets c answered by some process, and counts in n those that failed at it.
func (p *Pool) attempt(ctx context.Context, c *call, k owner, policy Policy, deadline time.Time, n *int) (*process, error) {
	g := p.group(k)
	for {
		proc, err := g.process(ctx, c)
		if err != nil {
			if !errors.Is(err, ErrLaunch) || errors.Is(err, walredo.ErrUnsupported) || *n >= policy.Attempts {
				return nil, err
			}
			*n++
			p.metrics.retries.Add(1)
			continue
		}
		taken, leads := proc.send(c, true)
		if !taken {
			continue // it died since
		}
		if leads {
			proc.lead(ctx, c, deadline)
		}
		if err := p.wait(ctx, c); err != nil {
			return nil, err
		}
		switch {
		case c.err == nil:
			return proc, nil
		case errors.Is(c.err, ErrClosed):
			return nil, c.err
		case !c.blamed:
			p.metrics.moved.Add(1)
		case *n >= policy.Attempts:
			return nil, c.err
		default:
			*n++
			p.metrics.retries.Add(1)
		}
		c.again()
	}
}

// wait waits for the process to be through with c. After an error c belongs to the process.
func (p *Pool) wait(ctx context.Context, c *call) error {
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		c.abandoned.Store(true)
		return ctx.Err()
	case <-c.timer.C:
		c.abandoned.Store(true)
		return fmt.Errorf("%w: no answer in time", ErrTimeout)
	}
}

// room waits until the pool has room for one more call of so many bytes.
func (p *Pool) room(ctx context.Context, c *call, bytes int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case p.slots <- struct{}{}:
		c.slot = true
	default:
		p.metrics.waits.Add(1)
		p.metrics.waiting.Add(1)
		defer p.metrics.waiting.Add(-1)
		select {
		case p.slots <- struct{}{}:
			c.slot = true
		case <-ctx.Done():
			return ctx.Err()
		case <-c.timer.C:
			return fmt.Errorf("%w: %d requests were before it (MaxRequests)", ErrTimeout, cap(p.slots))
		case <-p.tasks.Done():
			return ErrClosed
		}
	}
	if p.share.TryAcquire(bytes) {
		c.held = bytes
		return nil
	}
	p.metrics.waits.Add(1)
	p.metrics.waiting.Add(1)
	defer p.metrics.waiting.Add(-1)
	return p.roomFor(ctx, c, bytes)
}

// roomFor waits for memory until the context, the call's timer, or the pool ends.
func (p *Pool) roomFor(ctx context.Context, c *call, bytes int64) error {
	waiting, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	got := make(chan error, 1)
	if err := p.tasks.Go(func(context.Context) { got <- p.share.Acquire(waiting, bytes) }); err != nil {
		return ErrClosed
	}
	select {
	case err := <-got:
		if err == nil {
			c.held = bytes
		}
		return err
	case <-c.timer.C:
		stop(fmt.Errorf("%w: no room for a request of %d bytes among %d (MaxBytes)", ErrTimeout, bytes, p.o.MaxBytes))
	case <-p.tasks.Done():
		stop(ErrClosed)
	}
	if err := <-got; err == nil {
		c.held = bytes
	}
	return context.Cause(waiting)
}

// group gives the processes of an owner.
func (p *Pool) group(k owner) *group {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.mu.groups[k]
	if g == nil {
		g = &group{pool: p, kind: k.kind}
		p.mu.groups[k] = g
	}
	return g
}
