package layer

import "github.com/stratapg/strata/page"

// budget bounds what a Collector gathers, so that a read of any number of keys takes bounded memory: where
// too much comes together, the keys from a bound on are given up, and the caller reads those next.
type budget struct {
	limit   int // bytes, 0 for none
	perKey  int // bytes that each key counts beside its values
	size    int // of what has been gathered
	bounded bool
	bound   page.Key // if bounded: keys from here on are given up
}

// foundBytes is what one value takes beside its bytes, about.
const foundBytes = 96

// Limit bounds what is gathered to about so many bytes; perKey is what the caller will need for each key
// beside its values. A single key's values may take more, and what one call of Collect reads ahead comes on
// top. It is to be called before anything is added.
func (c *Collector) Limit(bytes, perKey int) { c.limit, c.perKey = bytes, perKey }

// Bound gives the key from which on nothing was gathered, because the limit was reached; MaxKey if it was
// not. What Results gives below it is whole.
func (c *Collector) Bound() page.Key {
	if c.bounded {
		return c.bound
	}
	return page.MaxKey
}

// beyond reports whether k has been given up.
func (c *Collector) beyond(k page.Key) bool { return c.bounded && !k.Less(c.bound) }

// grown counts a value of k and keeps the limit.
func (c *Collector) grown(k page.Key, bytes int) {
	c.size += bytes + foundBytes
	if e := &c.entries[c.last]; e.head == e.tail {
		c.size += c.perKey
	}
	switch {
	case c.limit == 0 || c.size <= c.limit/2 || len(c.entries) < 2:
	case !c.bounded && c.sorted && c.entries[len(c.entries)-1].key == k:
		// Keys come in order, from the first layer asked: nothing has to be thrown away. The other half is
		// for what further layers have of these keys.
		c.cut(k.Next())
	case c.size > c.limit:
		c.halve()
	}
}

// cut gives up the keys from bound on.
func (c *Collector) cut(bound page.Key) {
	c.bound, c.bounded = bound, true
	c.open = c.Open().Intersect(page.Range{Start: page.MinKey, End: bound})
}

// halve throws away the upper keys, so that half of the limit is free again. The first key always stays.
func (c *Collector) halve() {
	c.sort()
	size, keep := 0, 0
	for ; keep < len(c.entries); keep++ {
		n := c.perKey
		for at := c.entries[keep].head; at != noValue; at = c.values[at].next {
			v := &c.values[at]
			n += len(v.Value) + int(v.end-v.start) + foundBytes
		}
		if keep > 0 && size+n > c.limit/2 {
			break
		}
		size += n
	}
	if keep == len(c.entries) {
		c.size = size // values that were replaced had been counted too
		return
	}
	c.cut(c.entries[keep].key)
	c.entries, c.last, c.size, c.indexed = c.entries[:keep], noValue, size, false
	c.pack()
}

// pack drops values that belong to no key any more.
func (c *Collector) pack() {
	var kept []foundValue
	for i := range c.entries {
		e := &c.entries[i]
		before := int32(noValue)
		for at := e.head; at != noValue; at = c.values[at].next {
			n := int32(len(kept))
			kept = append(kept, c.values[at])
			kept[n].next = noValue
			if before == noValue {
				e.head = n
			} else {
				kept[before].next = n
			}
			before = n
		}
		e.tail = before
	}
	c.values = kept
}
