package layer

import (
	"iter"
	"slices"
	"sync"

	"github.com/stratapg/strata/page"
)

// Found is one version of a key.
type Found struct {
	LSN page.LSN
	// Value is a serialized page.Value, or the bare image if Raw. It is valid until the Collector's Release.
	Value []byte
	Raw   bool
	// Err says why the value could not be read; Value is nil then.
	Err error
}

// Collector gathers, for each key of a set, the values from an LSN downward until one initializes. Layers
// are asked newest first, but values may arrive in any order where layers overlap: they are kept sorted, and
// what is older than an initializing value is dropped. Not for concurrent use.
//
// Layers on disk only say where their values lie: whether more is needed is known from the index alone.
// Once all layers have been asked, of ancestors too, Fetch reads everything at once.
type Collector struct {
	keys    page.Set
	lsn     page.LSN
	open    page.Set
	last    int32 // the entry of the last Add
	sorted  bool
	indexed bool     // index is there: keys did not come in the order of entries
	minInit page.LSN // the lowest initializing LSN of any entry
	ahead   Ahead    // told of the first miss
	*gathered
	budget
}

// gathered is what a Collector holds. It is pooled, so that a read allocates next to nothing.
type gathered struct {
	done      []page.Range // keys that have become complete since open was computed
	entries   []collected
	index     map[page.Key]int32 // into entries
	values    []foundValue
	sources   []source
	scratch   []Found
	fetch     fetcher
	scan      layerScan
	visitPlan []keyVisit // of VisitsOfKey
	path      readPath
}

var gatheredPool = sync.Pool{New: func() any { return new(gathered) }}

// reset lets go of all values.
func (g *gathered) reset() {
	g.fetch.release()
	g.path.reset()
	clear(g.values)
	clear(g.sources)
	clear(g.visitPlan)
	g.done, g.entries, g.values, g.sources = g.done[:0], g.entries[:0], g.values[:0], g.sources[:0]
	g.visitPlan = g.visitPlan[:0]
}

// collected heads the list of one key's values, newest first.
type collected struct {
	key        page.Key
	head, tail int32
	complete   bool
}

// foundValue is a value, or where it lies: if src is not noValue, at [start, end) of that source.
type foundValue struct {
	Found
	next       int32
	src        int32
	start, end int64
}

const noValue = -1

// NewCollector begins a read of keys at lsn (inclusive).
func NewCollector(keys page.Set, lsn page.LSN) *Collector {
	c := new(Collector)
	c.Start(keys, lsn)
	return c
}

// Start is NewCollector for one that was made otherwise, or released.
func (c *Collector) Start(keys page.Set, lsn page.LSN) {
	*c = Collector{keys: keys, lsn: lsn, open: keys, sorted: true, minInit: page.MaxLSN, last: noValue,
		gathered: gatheredPool.Get().(*gathered)}
}

// Keys gives the set asked for, LSN where to read it.
func (c *Collector) Keys() page.Set { return c.keys }

// LSN gives the LSN of the read; values at it are seen.
func (c *Collector) LSN() page.LSN { return c.lsn }

// Add hands over one version of a key of the set. raw says that value is a bare image. Of two values at one
// LSN the first stays, unless the second alone initializes: compaction may have put an image in the place of a record,
// and the layer that has it was not asked for what is older. The bytes are not copied: they must not change until Release.
func (c *Collector) Add(k page.Key, lsn page.LSN, raw, willInit bool, value []byte) {
	c.add(k, foundValue{Found: Found{LSN: lsn, Value: value, Raw: raw}, src: noValue}, willInit, len(value))
}

// addPending is Add for a value that lies at [start, end) of src, for Fetch to read.
func (c *Collector) addPending(k page.Key, lsn page.LSN, raw, willInit bool, src source, start, end int64) {
	n := int32(len(c.sources)) - 1
	if n < 0 || c.sources[n] != src {
		c.sources = append(c.sources, src)
		n++
	}
	c.add(k, foundValue{Found: Found{LSN: lsn, Raw: raw}, src: n, start: start, end: end}, willInit, int(end-start))
}

func (c *Collector) add(k page.Key, v foundValue, willInit bool, size int) {
	if c.beyond(k) {
		return
	}
	e := c.entry(k)
	willInit = willInit || v.Raw
	n := int32(len(c.values))
	v.next = noValue
	switch {
	case e.head == noValue:
		e.head, e.tail = n, n
	case v.LSN < c.values[e.tail].LSN:
		if e.complete {
			return
		}
		c.values[e.tail].next, e.tail = n, n
	default:
		if n = c.insert(e, n, &v, willInit); n == noValue {
			return
		}
	}
	if int(n) == len(c.values) {
		c.values = append(c.values, v)
	} else {
		c.values[n] = v
	}
	if willInit {
		// Nothing older counts.
		c.values[n].next, e.tail = noValue, n
		if !e.complete {
			e.complete = true
			c.done = append(c.done, page.Range{Start: k, End: k.Next()})
		}
		c.minInit = min(c.minInit, v.LSN)
	}
	c.grown(k, size)
}

// insert links value n into its place before the tail, and gives its number. Where its LSN is there already that is the
// number of the value whose place it takes, or noValue if that one stays.
func (c *Collector) insert(e *collected, n int32, v *foundValue, willInit bool) int32 {
	before := int32(noValue)
	at := e.head
	for at != noValue && c.values[at].LSN > v.LSN {
		before, at = at, c.values[at].next
	}
	if at != noValue && c.values[at].LSN == v.LSN {
		if !willInit || e.complete && at == e.tail {
			return noValue
		}
		return at
	}
	v.next = at
	if before == noValue {
		e.head = n
	} else {
		c.values[before].next = n
	}
	return n
}

func (c *Collector) entry(k page.Key) *collected {
	// Layers give keys in order: it is mostly the same key again, or the next one.
	for i := max(c.last, 0); i <= c.last+1 && int(i) < len(c.entries); i++ {
		if c.entries[i].key == k {
			c.last = i
			return &c.entries[i]
		}
	}
	n := int32(len(c.entries))
	i, ok := n, false
	if above := n == 0 || c.sorted && c.entries[n-1].key.Less(k); !above {
		if !c.indexed {
			c.makeIndex()
		}
		i, ok = c.index[k]
	}
	if !ok {
		i = n
		c.sorted = c.sorted && (n == 0 || c.entries[n-1].key.Less(k))
		c.entries = append(c.entries, collected{key: k, head: noValue, tail: noValue})
		if c.indexed {
			c.index[k] = i
		}
	}
	c.last = i
	return &c.entries[i]
}

func (c *Collector) makeIndex() {
	if c.index == nil {
		c.index = make(map[page.Key]int32, len(c.entries))
	}
	clear(c.index)
	for i := range c.entries {
		c.index[c.entries[i].key] = int32(i)
	}
	c.indexed = true
}

// Settle says that what has not been found of r so far does not exist: an image layer has been asked.
func (c *Collector) Settle(r page.Range) {
	if open := c.Open(); open.Overlaps(r) {
		c.open = open.Subtract(page.NewSet(r))
	}
}

// Open gives the keys that lack an initializing value and that no image layer has settled.
func (c *Collector) Open() page.Set {
	if len(c.done) > 0 {
		if r := c.open.Ranges(); len(r) == 1 && r[0] == c.done[0] {
			c.open = page.Set{} // the usual case of one key
		} else {
			c.open = c.open.Subtract(page.NewSet(c.done...))
		}
		c.done = c.done[:0]
	}
	return c.open
}

// lacking gives the keys of s for which values in an LSN range that ends at the exclusive end may still
// count: the open ones, and those whose initializing value is older than that end.
func (c *Collector) lacking(s page.Set, end page.LSN) page.Set {
	out := intersect(s, c.Open())
	if end == 0 || c.minInit >= end-1 {
		return out
	}
	var more []page.Range
	for i := range c.entries {
		e := &c.entries[i]
		if e.complete && c.values[e.tail].LSN < end-1 && s.Contains(e.key) {
			more = append(more, page.Range{Start: e.key, End: e.key.Next()})
		}
	}
	if len(more) == 0 {
		return out
	}
	return out.Union(page.NewSet(more...))
}

// Len gives the number of keys for which something was found.
func (c *Collector) Len() int { return len(c.entries) }

// Results gives, in key order, every key for which something was found, with its values newest first. The
// last one initializes, unless the chain is broken; Complete-ness is for the caller to check, as only he
// knows whether an ancestor is left to ask. The slice is valid during one step only.
func (c *Collector) Results() iter.Seq2[page.Key, []Found] {
	return func(yield func(page.Key, []Found) bool) {
		c.sort()
		for i := range c.entries {
			c.scratch = c.scratch[:0]
			for at := c.entries[i].head; at != noValue; at = c.values[at].next {
				c.scratch = append(c.scratch, c.values[at].Found)
			}
			more := yield(c.entries[i].key, c.scratch)
			clear(c.scratch)
			if !more {
				return
			}
		}
	}
}

// sort puts the entries into key order.
func (c *Collector) sort() {
	if c.sorted {
		return
	}
	slices.SortFunc(c.entries, func(a, b collected) int { return a.key.Compare(b.key) })
	c.sorted, c.indexed, c.last = true, false, noValue
}

// Release gives the buffers back; neither it nor a value may be used afterwards, but for Start. It may be called again.
func (c *Collector) Release() {
	if c.gathered == nil {
		return
	}
	c.gathered.reset()
	gatheredPool.Put(c.gathered)
	*c = Collector{lsn: c.lsn}
}

// intersect gives the keys in both sets.
func intersect(a, b page.Set) page.Set {
	x, y := a.Ranges(), b.Ranges()
	switch {
	case len(x) == 1:
		return b.Intersect(x[0])
	case len(y) == 1:
		return a.Intersect(y[0])
	}
	var out []page.Range
	for len(x) > 0 && len(y) > 0 {
		if r := x[0].Intersect(y[0]); !r.Empty() {
			out = append(out, r)
		}
		if x[0].End.Less(y[0].End) {
			x = x[1:]
		} else {
			y = y[1:]
		}
	}
	return page.NewSet(out...)
}
