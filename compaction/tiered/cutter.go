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

// run are neighbouring keys.
type run struct {
	keys page.Range
	size int64
	some bool
}

// oneKey gathers the entries of a key.
type oneKey struct {
	key     page.Key
	some    bool
	size    int64    // since the last cut
	entries int64    // since then
	cut     bool     // the key is more than one output
	cutFrom page.LSN // where the next piece begins
}

func (r *run) empty() bool { return !r.some }

func (r *run) add(keys page.Range, size int64) {
	if r.empty() {
		r.keys.Start, r.some = keys.Start, true
	}
	r.keys.End = keys.End
	r.size += size
}

func (c *cutter) Add(e compaction.Entry, emit func(compaction.Rect)) {
	if !c.key.some || c.key.key != e.Key {
		c.endKey(emit)
		c.key = oneKey{key: e.Key, some: true, cutFrom: c.lsns.Start}
	}
	if c.key.size+e.Size > c.target && c.key.entries > 0 {
		if !c.key.cut {
			c.key.cut = true
			c.drain(emit)
		}
		c.emitPiece(e.LSN, emit)
		c.key.size, c.key.entries = 0, 0
	}
	c.key.size += e.Size
	c.key.entries++
}

func (c *cutter) Finish(emit func(compaction.Rect)) {
	c.endKey(emit)
	c.drain(emit)
}

// endKey puts a complete key to those before it, or gives its last piece.
func (c *cutter) endKey(emit func(compaction.Rect)) {
	switch {
	case !c.key.some:
	case c.key.cut:
		c.emitPiece(c.lsns.End, emit)
	default:
		c.feed(page.Range{Start: c.key.key, End: c.key.key.Next()}, c.key.size, emit)
	}
	c.key = oneKey{}
}

func (c *cutter) emitPiece(end page.LSN, emit func(compaction.Rect)) {
	keys := page.Range{Start: c.key.key, End: c.key.key.Next()}
	emit(compaction.Rect{Keys: keys, LSNs: page.LSNRange{Start: c.key.cutFrom, End: end}})
	c.key.cutFrom = end
}

// feed puts keys behind those before them, and gives what is certain to be an output.
func (c *cutter) feed(keys page.Range, size int64, emit func(compaction.Rect)) {
	if c.front.size < c.target {
		c.front.add(keys, size)
	} else {
		c.rest.add(keys, size)
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
	if !c.rest.empty() && c.fitsOne() {
		c.front.add(c.rest.keys, c.rest.size)
		c.rest = run{}
	}
	for !c.front.empty() {
		c.emitFront(emit)
	}
}

func (c *cutter) emitFront(emit func(compaction.Rect)) {
	emit(compaction.Rect{Keys: c.front.keys, LSNs: c.lsns})
	c.front, c.rest = c.rest, run{}
}
