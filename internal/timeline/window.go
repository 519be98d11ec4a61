package timeline

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

const (
	// windowKeys is how many consecutive keys one step of a read asks for: enough to make the search for
	// layers cheap, few enough for several steps to be in memory.
	windowKeys = 256
	// sparseGrowth is by how much the next step is longer after one that found next to nothing, so that a
	// range that reaches far behind a relation's end takes few steps.
	sparseGrowth = 8
	// maxAhead bounds the steps that one read has in flight, beside the processors.
	maxAhead = 8
	// slotKey is what a key counts in a step beside its values: room for the page to be rebuilt.
	slotKey = slotSize
)

// readPart reads the keys of p window by window, a few of them ahead of fn.
func (l *lineage) readPart(ctx context.Context, p part, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error {
	if fewKeys(p.keys) {
		return l.readSteps(ctx, p.keys, p.inherited, lsn, fn)
	}
	cut := cutter{ranges: p.keys.Ranges(), keys: windowKeys}
	first := cut.next()
	if cut.empty() {
		return l.readSteps(ctx, first, p.inherited, lsn, fn)
	}
	ctx, cancel := context.WithCancel(ctx)
	var ahead []*window // oldest first
	defer func() {
		cancel()
		for _, w := range ahead {
			<-w.done
			w.release()
		}
	}()
	start := func(keys page.Set) {
		w := newWindow(l)
		w.done = make(chan struct{})
		ahead = append(ahead, w)
		// Ended by ctx at the latest; waited for above or before its values are given.
		go func() {
			defer close(w.done)
			w.err = w.read(ctx, keys, p.inherited, lsn, 1)
		}()
	}
	start(first)
	for len(ahead) > 0 {
		for len(ahead) <= min(runtime.GOMAXPROCS(0), maxAhead) && !cut.empty() {
			start(cut.next())
		}
		w := ahead[0]
		<-w.done
		if w.err != nil {
			return w.err
		}
		if err := w.give(ctx, fn); err != nil {
			return err
		}
		cut.adapt(w)
		rest := w.rest
		w.release()
		ahead = ahead[1:]
		if err := l.readSteps(ctx, rest, p.inherited, lsn, fn); err != nil {
			return err
		}
	}
	return nil
}

// fewKeys reports, for the usual case of one range, whether it fits a window.
func fewKeys(keys page.Set) bool {
	r := keys.Ranges()
	if len(r) != 1 {
		return false
	}
	n, ok := count(r[0])
	return ok && n <= windowKeys
}

// readSteps reads keys one step after the other.
func (l *lineage) readSteps(ctx context.Context, keys page.Set, inherited bool, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error {
	for !keys.Empty() {
		w := newWindow(l)
		err := w.read(ctx, keys, inherited, lsn, runtime.GOMAXPROCS(0))
		if err == nil {
			err = w.give(ctx, fn)
		}
		keys = w.rest
		w.release()
		if err != nil {
			return err
		}
	}
	return nil
}

// window is one step of a read. It is pooled.
type window struct {
	l         *lineage
	inherited bool // ancestors are asked too
	c         layer.Collector
	ch        *chunk
	rest      page.Set // what did not fit the limit of memory
	err       error
	done      chan struct{} // if it is read by a goroutine of its own
}

var windows = sync.Pool{New: func() any { return new(window) }}

func newWindow(l *lineage) *window {
	w := windows.Get().(*window)
	w.l = l
	return w
}

func (w *window) read(ctx context.Context, keys page.Set, inherited bool, lsn page.LSN, goroutines int) (err error) {
	w.c.Start(keys, lsn)
	w.c.Limit(windowBytes, slotKey)
	w.inherited = inherited
	w.c.OnMiss(w)
	if err = w.l.gather(ctx, &w.c, inherited); err != nil {
		return err
	}
	if w.ch, err = w.l.timeline().rebuild(ctx, &w.c, goroutines); err != nil {
		return err
	}
	w.rest = page.Set{}
	if b := w.c.Bound(); b != page.MaxKey {
		w.rest = keys.Intersect(page.Range{Start: b, End: page.MaxKey})
	}
	return nil
}

// give hands what was read to fn.
func (w *window) give(ctx context.Context, fn func(k page.Key, value []byte, err error) error) error {
	w.trace(ctx)
	return w.l.timeline().give(ctx, w.ch, fn)
}

// trace tells a Trace of the context what was read.
func (w *window) trace(ctx context.Context) {
	if t := layer.TraceOf(ctx); t != nil {
		w.c.Trace(t)
	}
}

// release lets go of the values.
func (w *window) release() {
	if w.ch != nil {
		w.ch.release()
	}
	w.c.Release()
	*w = window{}
	windows.Put(w)
}

// cutter cuts ranges into sets of about so many keys each. Only blocks can be counted: their keys differ in
// the last field. Other ranges stay whole; what they hold is bounded by a step's limit of memory.
type cutter struct {
	ranges []page.Range
	owned  bool   // ranges may be changed
	keys   uint64 // a set is to have
}

func (c *cutter) empty() bool { return len(c.ranges) == 0 }

// next takes the next set off.
func (c *cutter) next() page.Set {
	var out []page.Range
	for left := c.keys; left > 0 && len(c.ranges) > 0; {
		r := c.ranges[0]
		n, ok := count(r)
		if !ok && len(out) > 0 {
			break
		}
		if ok && n > left {
			r.End = r.Start.Add(uint32(left))
			if !c.owned {
				c.ranges, c.owned = slices.Clone(c.ranges), true
			}
			c.ranges[0].Start = r.End
			out = append(out, r)
			break
		}
		c.ranges = c.ranges[1:]
		out = append(out, r)
		if !ok {
			break
		}
		left -= n
	}
	return page.NewSet(out...)
}

// adapt makes the following sets longer where one held next to nothing.
func (c *cutter) adapt(w *window) {
	switch {
	case uint64(len(w.ch.results)) > c.keys/sparseGrowth || !w.rest.Empty():
		c.keys = windowKeys
	case c.keys < 1<<31:
		c.keys *= sparseGrowth
	}
}

// count gives the number of keys of r, if it can be told.
func count(r page.Range) (uint64, bool) {
	if r.Start.Sparse() {
		return 0, false
	}
	end, last := r.Start, r.Start
	end.F6, last.F6 = r.End.F6, math.MaxUint32
	switch r.End {
	case end:
		return uint64(r.End.F6 - r.Start.F6), true
	case last.Next():
		return math.MaxUint32 - uint64(r.Start.F6) + 1, true
	}
	return 0, false
}
