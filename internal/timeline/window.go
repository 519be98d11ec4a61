package timeline

import (
	"context"
	"math"
	"runtime"
	"slices"

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
func (t *Timeline) readPart(ctx context.Context, p part, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error {
	cut := cutter{ranges: p.keys.Ranges(), keys: windowKeys}
	first := cut.next()
	if cut.empty() {
		return t.readSteps(ctx, first, p.inherited, lsn, fn)
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
		w := &window{done: make(chan struct{})}
		ahead = append(ahead, w)
		// Ended by ctx at the latest; waited for above or before its values are given.
		go func() {
			defer close(w.done)
			w.err = w.read(ctx, t, keys, p.inherited, lsn, 1)
		}()
	}
	start(first)
	for len(ahead) > 0 {
		for len(ahead) <= min(runtime.GOMAXPROCS(0), maxAhead) && !cut.empty() {
			start(cut.next())
		}
		w := ahead[0]
		<-w.done
		if err := w.give(ctx, t, fn); err != nil {
			return err
		}
		cut.adapt(w)
		rest := w.rest
		w.release()
		ahead = ahead[1:]
		if err := t.readSteps(ctx, rest, p.inherited, lsn, fn); err != nil {
			return err
		}
	}
	return nil
}

// readSteps reads keys one step after the other.
func (t *Timeline) readSteps(ctx context.Context, keys page.Set, inherited bool, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error {
	for !keys.Empty() {
		var w window
		w.err = w.read(ctx, t, keys, inherited, lsn, runtime.GOMAXPROCS(0))
		err := w.give(ctx, t, fn)
		w.release()
		if err != nil {
			return err
		}
		keys = w.rest
	}
	return nil
}

// window is one step of a read.
type window struct {
	c    *layer.Collector
	ch   *chunk
	rest page.Set // what did not fit the limit of memory
	err  error
	done chan struct{} // if it is read by a goroutine of its own
}

func (w *window) read(ctx context.Context, t *Timeline, keys page.Set, inherited bool, lsn page.LSN, goroutines int) (err error) {
	w.c = layer.NewCollector(keys, lsn)
	w.c.Limit(windowBytes, slotKey)
	if err = t.gather(ctx, w.c, inherited); err != nil {
		return err
	}
	if w.ch, err = t.rebuild(ctx, w.c, goroutines); err != nil {
		return err
	}
	w.rest = keys.Intersect(page.Range{Start: w.c.Bound(), End: page.MaxKey})
	return nil
}

// give hands what was read to fn.
func (w *window) give(ctx context.Context, t *Timeline, fn func(k page.Key, value []byte, err error) error) error {
	if w.err != nil {
		return w.err
	}
	return t.give(ctx, w.ch, fn)
}

// release lets go of the values.
func (w *window) release() {
	if w.ch != nil {
		w.ch.release()
	}
	w.c.Release()
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
