package legacy

import (
	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// cutter divides a run of L0s into outputs of at most target bytes that end between keys. A key that has more
// than target bytes is cut by LSN into outputs of its own.
type cutter struct {
	lsns   page.LSNRange
	target int64

	keys page.Range // the output that grows
	size int64
	key  oneKey
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

func (c *cutter) Add(e compaction.Entry, emit func(compaction.Rect)) {
	if !c.key.some || c.key.key != e.Key {
		c.endKey(emit)
		c.key = oneKey{key: e.Key, some: true, cutFrom: c.lsns.Start}
	}
	if c.key.size+e.Size > c.target && c.key.entries > 0 {
		if !c.key.cut {
			c.key.cut = true
			c.emitKeys(emit)
		}
		c.emitPiece(e.LSN, emit)
		c.key.size, c.key.entries = 0, 0
	}
	c.key.size += e.Size
	c.key.entries++
}

func (c *cutter) Finish(emit func(compaction.Rect)) {
	c.endKey(emit)
	c.emitKeys(emit)
}

// endKey puts a complete key to those before it, or gives its last piece.
func (c *cutter) endKey(emit func(compaction.Rect)) {
	switch k := &c.key; {
	case !k.some:
	case k.cut:
		c.emitPiece(c.lsns.End, emit)
	default:
		if c.size+k.size > c.target {
			c.emitKeys(emit)
		}
		if c.keys.Empty() {
			c.keys.Start = k.key
		}
		c.keys.End = k.key.Next()
		c.size += k.size
	}
	c.key = oneKey{}
}

func (c *cutter) emitPiece(end page.LSN, emit func(compaction.Rect)) {
	keys := page.Range{Start: c.key.key, End: c.key.key.Next()}
	emit(compaction.Rect{Keys: keys, LSNs: page.LSNRange{Start: c.key.cutFrom, End: end}})
	c.key.cutFrom = end
}

func (c *cutter) emitKeys(emit func(compaction.Rect)) {
	if !c.keys.Empty() {
		emit(compaction.Rect{Keys: c.keys, LSNs: c.lsns})
	}
	c.keys, c.size = page.Range{}, 0
}
