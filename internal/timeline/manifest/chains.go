package manifest

import (
	"encoding/binary"
	"fmt"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// Chains tells of a delta how many records of a key follow each other without an image.
type Chains struct {
	Layer layer.Desc // without size
	page.Chains
}

// checkChains says why what an edit tells of layers does not fit those that are there after it.
func checkChains(e *Edit, after *layer.Map) error {
	for i := range e.Chains {
		x := &e.Chains[i]
		if _, there := after.Find(x.Layer); !there || x.Layer.Image {
			return fmt.Errorf("records of layer %s follow each other, and there is no such delta", x.Layer.Name())
		}
	}
	return nil
}

// chainsOf gives what is told of some layers, in their order.
func (l *live) chainsOf(layers []layer.Desc) (out []Chains) {
	if len(l.chains) == 0 {
		return nil
	}
	for _, d := range layers {
		if c, ok := l.chains[idOf(d)]; ok {
			d.Size = 0
			out = append(out, Chains{d, c})
		}
	}
	return out
}

// appendChains appends the items of some layers.
func appendChains(b []byte, all []Chains) []byte {
	for i := range all {
		c := &all[i]
		b = appendLayer(appendItem(b, tagChains, removeSize+4+len(c.Long)*chainSize), c.Layer)
		b = binary.BigEndian.AppendUint32(b, uint32(c.Rest))
		for _, x := range c.Long {
			b = x.Keys.End.Append(x.Keys.Start.Append(b))
			b = binary.BigEndian.AppendUint32(b, uint32(x.Records))
		}
	}
	return b
}

func decodeChains(v []byte, g grammar) (c Chains, err error) {
	if c.Layer, err = decodeLayer(v, g.flags); err != nil {
		return c, err
	}
	v = v[removeSize:]
	rest, v := binary.BigEndian.Uint32(v), v[4:]
	if rest > page.MaxChain || len(v) > page.MaxChains*chainSize {
		return c, fmt.Errorf("%d records, and %d stretches of keys with more: too many", rest, len(v)/chainSize)
	}
	c.Rest = int(rest)
	from := c.Layer.Keys.Start
	for ; len(v) > 0; v = v[chainSize:] {
		x := page.Chain{Keys: page.Range{Start: page.KeyFromBytes(v), End: page.KeyFromBytes(v[page.KeySize:])}}
		n := binary.BigEndian.Uint32(v[rangeSize:])
		if x.Keys.Empty() || x.Keys.Start.Less(from) || c.Layer.Keys.End.Less(x.Keys.End) || n > page.MaxChain {
			return c, fmt.Errorf("%d records at keys %s, after keys up to %s of %s", n, x.Keys, from, c.Layer.Keys)
		}
		x.Records, from = int(n), x.Keys.End
		c.Long = append(c.Long, x)
	}
	return c, nil
}
