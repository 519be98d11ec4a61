package layer

import "github.com/stratapg/strata/page"

// chainCounter counts records that follow each other without an image, of entries in the order of a delta.
type chainCounter struct {
	all  page.ChainCounter
	last treeKey
	any  bool
	run  int  // records since the last image of the key
	most int  // of the key
	one  bool // some key has no more than one record
}

// keyOnly is what of a treeKey's third word belongs to the page.Key.
const keyOnly = 0xFFFF << 48

func (c *chainCounter) add(k *treeKey, willInit bool, value []byte) {
	if !c.any || c.last[0] != k[0] || c.last[1] != k[1] || (c.last[2]^k[2])&keyOnly != 0 {
		c.end()
		c.any = true
		for i := range c.last { // word by word, as treeKey says
			c.last[i] = k[i]
		}
	}
	if willInit {
		c.run = 0
		if page.IsImage(value) {
			return
		}
	}
	c.run++
	c.most = max(c.most, c.run)
}

// end ends a key. Metadata are never rebuilt from records.
func (c *chainCounter) end() {
	if c.most > 1 || c.most == 1 && !c.one { // that there is one such key is all that is said of them
		if k := c.last.page(); !k.Sparse() {
			c.all.Add(k, c.most)
			c.one = c.one || c.most == 1
		}
	}
	c.run, c.most = 0, 0
}

func (c *chainCounter) finish() page.Chains {
	c.end()
	return c.all.Chains()
}
