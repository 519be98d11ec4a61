package virtualfile

import "sync/atomic"

// gate counts who is inside and, once closed, lets nobody in and waits until all have left.
type gate struct {
	state atomic.Int64 // who is inside; plus gateClosed
	empty chan struct{}
}

const gateClosed = 1 << 62

func (g *gate) init() { g.empty = make(chan struct{}, 1) }

func (g *gate) enter() bool {
	if g.state.Add(1) >= gateClosed {
		g.leave()
		return false
	}
	return true
}

func (g *gate) leave() {
	if g.state.Add(-1) == gateClosed {
		select {
		case g.empty <- struct{}{}:
		default:
		}
	}
}

// close waits until nobody is inside. It tells whether it was the first.
func (g *gate) close() bool {
	for {
		n := g.state.Load()
		if n >= gateClosed {
			return false
		}
		if g.state.CompareAndSwap(n, n+gateClosed) {
			for n := n; n > 0; n = g.state.Load() - gateClosed {
				<-g.empty
			}
			return true
		}
	}
}
