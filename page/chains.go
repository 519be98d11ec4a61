package page

import "math"

// Chains sum up, for one layer, how many records of a key follow each other without an image of it between them: the most
// that a read of the key has to replay of the layer.
type Chains struct {
	// Long are stretches of keys, in order and disjoint, at most MaxChains.
	Long []Chain
	// Rest is the most of any key outside of them.
	Rest int
}

// Chain is a stretch of keys with the most records that follow each other of any of them.
type Chain struct {
	Keys    Range
	Records int
}

const (
	// MaxChains bounds the stretches that are told apart in a layer.
	MaxChains = 64
	// MaxChain is the greatest number of records that is told.
	MaxChain = 1 << 20
)

// Most is the number of the longest chain.
func (c *Chains) Most() int {
	most := c.Rest
	for i := range c.Long {
		most = max(most, c.Long[i].Records)
	}
	return most
}

// ChainCounter makes Chains of keys that come in order. Stretches that lie near each other become one where
// there are too many: those first of which the least is said that is not true, in keys times records.
type ChainCounter struct {
	chains    Chains
	tolerance int64
}

// Add notes that of a key, which is above all before, so many records follow each other.
func (c *ChainCounter) Add(k Key, records int) {
	if records < 2 {
		c.chains.Rest = max(c.chains.Rest, records)
		return
	}
	c.add(Chain{Range{k, k.Next()}, min(records, MaxChain)})
	if len(c.chains.Long) > 2*MaxChains {
		c.coalesce(MaxChains)
	}
}

// Chains gives what has been noted.
func (c *ChainCounter) Chains() Chains {
	c.coalesce(MaxChains)
	return c.chains
}

// add adds a stretch behind the others, or makes the last one longer.
func (c *ChainCounter) add(next Chain) {
	if n := len(c.chains.Long); n > 0 {
		if last := &c.chains.Long[n-1]; last.excess(&next) <= c.tolerance {
			last.Keys.End, last.Records = next.Keys.End, max(last.Records, next.Records)
			return
		}
	}
	c.chains.Long = append(c.chains.Long, next)
}

// coalesce makes at most limit stretches of them.
func (c *ChainCounter) coalesce(limit int) {
	for len(c.chains.Long) > limit {
		c.tolerance = max(1, min(2*c.tolerance, math.MaxInt64/2))
		all := c.chains.Long
		c.chains.Long = all[:0]
		for _, x := range all {
			c.add(x)
		}
	}
}

// excess is what would be said too much if c and next, which follows it, were one stretch.
func (c *Chain) excess(next *Chain) int64 {
	most := int64(max(c.Records, next.Records))
	return width(c.Keys)*(most-int64(c.Records)) + width(next.Keys)*(most-int64(next.Records)) +
		width(Range{c.Keys.End, next.Keys.Start})*most
}

// width counts keys of one fork; it is math.MaxUint32 at the most, and for what reaches over more.
func width(r Range) int64 {
	a, b := r.Start, r.End
	if a == b {
		return 0
	}
	if a.F1 != b.F1 || a.F2 != b.F2 || a.F3 != b.F3 || a.F4 != b.F4 {
		return math.MaxUint32
	}
	return min((int64(b.F5)<<32|int64(b.F6))-(int64(a.F5)<<32|int64(a.F6)), math.MaxUint32)
}
