// Package tasks runs background work that ends before its owner does.
package tasks

import (
	"context"
	"errors"
	"sync"
)

// ErrStopped says that no work is started any more.
var ErrStopped = errors.New("stopped")

// Group is a set of goroutines with one lifetime. It may be used from many goroutines.
type Group struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     struct {
		sync.Mutex
		stopped bool
	}
}

// New gives an empty group.
func New() *Group {
	g := &Group{}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// Go starts fn, whose context ends when Stop is called. After that it fails with ErrStopped.
func (g *Group) Go(fn func(ctx context.Context)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.stopped {
		return ErrStopped
	}
	g.wg.Go(func() { fn(g.ctx) })
	return nil
}

// Done is closed once Stop has been called.
func (g *Group) Done() <-chan struct{} { return g.ctx.Done() }

// Stop ends the group's context and waits for everything that was started. It may be called twice.
func (g *Group) Stop() {
	g.mu.Lock()
	g.mu.stopped = true
	g.mu.Unlock()
	g.cancel()
	g.wg.Wait()
}
