package tiered

import (
	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// cutter divides a level into outputs of about target bytes. Each ends at the first border between keys at which it has
// target bytes or more, and the last takes up to a quarter more rather than leave a small one. A key that has more than
// target bytes is cut by LSN into outputs of its own.
type cutter struct {
	lsns   page.LSNRange
	target int64

	// front is the output that grows, and once it is large enough, rest what follows: whether front is to end is
	// known when both together are too much for one output, or when there is no more.
	front, rest run
	// key is what the entries of the present key have come to.
	key oneKey
}

// run are neighbouring keys, from first to last, if there are any.
type run struct {
	first, last page.Key
	size        int64
	some        bool
}

// oneKey gathers the entries of a key, of which there is none at the beginning alone.
type oneKey struct {
	key     page.Key
	size    int64    // since the last cut
	entries int64    // since then
	cut     bool     // the key is more than one output
	cutFrom page.LSN // where the next piece begins
}

func (r *run) add(first, last page.Key, size int64) {
	if !r.some {
		r.first, r.some = first, true
	}
	r.last = last
	r.size += size
}

func (c *cutter) Add(e compaction.Entry, emit func(compaction.Rect)) {
	k := &c.key
	if k.entries == 0 || k.key != e.Key {
		c.endKey(emit)
		k.key, k.size, k.entries, k.cut, k.cutFrom = e.Key, 0, 0, false, c.lsns.Start
	}
	if k.size+e.Size > c.target && k.entries > 0 {
		if !k.cut {
			k.cut = true
			c.drain(emit)
		}
		c.emitPiece(e.LSN, emit)
		k.size, k.entries = 0, 0
	}
	k.size += e.Size
	k.entries++
}

func (c *cutter) Finish(emit func(compaction.Rect)) {
	c.endKey(emit)
	c.drain(emit)
}

// endKey puts a complete key to those before it, or gives its last piece.
func (c *cutter) endKey(emit func(compaction.Rect)) {
	switch {
	case c.key.entries == 0:
	case c.key.cut:
		c.emitPiece(c.lsns.End, emit)
	default:
		c.feed(emit)
	}
}

func (c *cutter) emitPiece(end page.LSN, emit func(compaction.Rect)) {
	keys := page.Range{Start: c.key.key, End: c.key.key.Next()}
	emit(compaction.Rect{Keys: keys, LSNs: page.LSNRange{Start: c.key.cutFrom, End: end}})
	c.key.cutFrom = end
}

// feed puts the present key behind those before it, and gives what is certain to be an output.
func (c *cutter) feed(emit func(compaction.Rect)) {
	if c.front.size < c.target {
		c.front.add(c.key.key, c.key.key, c.key.size)
	} else {
		c.rest.add(c.key.key, c.key.key, c.key.size)
	}
	for c.front.size >= c.target && !c.fitsOne() {
		c.emitFront(emit)
	}
}

// fitsOne reports whether all that is left may be one output.
func (c *cutter) fitsOne() bool { return c.front.size+c.rest.size < c.target+c.target/stretch }

// stretch is the part of target by which the last output, or image, may be larger.
const stretch = 4

// drain gives the rest when nothing follows that could join it.
func (c *cutter) drain(emit func(compaction.Rect)) {
	if c.rest.some && c.fitsOne() {
		c.front.add(c.rest.first, c.rest.last, c.rest.size)
		c.rest = run{}
	}
	for c.front.some {
		c.emitFront(emit)
	}
}

func (c *cutter) emitFront(emit func(compaction.Rect)) {
	emit(compaction.Rect{Keys: page.Range{Start: c.front.first, End: c.front.last.Next()}, LSNs: c.lsns})
	c.front, c.rest = c.rest, run{}
}
