package layer

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/page"
)

// maxWarm bounds the blocks of one level of an index that Warm brings into memory. A read that needs more of them
// looks for them one after the other, as they lie.
const maxWarm = 16

// Ahead is told when a read first meets a layer that is not at hand, before it waits.
type Ahead interface {
	// LookAhead may bring what the read will need of this layer and of those behind it, all at the same time. It
	// gives how many index blocks it had loaded.
	LookAhead(ctx context.Context) (loads int)
}

// OnMiss has a told when the first index block is missing in memory, once.
func (c *Collector) OnMiss(a Ahead) { c.ahead = a }

// Missing says that something the read needs now is not in memory.
func (c *Collector) Missing(ctx context.Context) {
	if a := c.ahead; a != nil {
		c.ahead = nil
		c.path.indexLoads += a.LookAhead(ctx)
	}
}

// Warm brings the index blocks into memory that a Collect of the same begins with: level by level, those of one
// level together, with the blocks of checksums that they need. It gives how many it had to load. What cannot be
// read is for the Collect to complain of.
func (r *Reader) Warm(ctx context.Context, keys page.Set, lsns page.LSNRange) (loads int) {
	if !lsns.Overlaps(r.desc.LSNs) {
		return 0
	}
	keys = keys.Intersect(r.desc.Keys)
	if keys.Empty() {
		return 0
	}
	level := []uint32{r.sum.indexRoot}
	for above := maxTreeLevels; len(level) > 0; above-- {
		nodes, n := r.together(ctx, level)
		loads += n
		level = r.below(level[:0], nodes, above, keys, lsns.End)
		for i := range nodes {
			nodes[i].pin.Release()
		}
	}
	return loads
}

// warmNode is a block of an index, or none if it cannot be had.
type warmNode struct {
	node treeNode
	pin  cache.Pin
}

// together pins blocks, and loads those that are not in memory at the same time.
func (r *Reader) together(ctx context.Context, blks []uint32) (nodes []warmNode, loads int) {
	nodes = make([]warmNode, len(blks))
	var wg sync.WaitGroup
	var loaded atomic.Int64
	for i, blk := range blks {
		load := func() {
			pin, missed, err := r.indexBlock(ctx, blk, nil)
			if err != nil {
				return
			}
			if missed {
				loaded.Add(1)
			}
			if nodes[i].node, err = parseNode(pin.Bytes(), r.keyLen); err != nil {
				pin.Release()
				return
			}
			nodes[i].pin = pin
		}
		if i+1 < len(blks) {
			wg.Go(load)
		} else {
			load()
		}
	}
	wg.Wait()
	return nodes, int(loaded.Load())
}

// below gives the children that a search for keys goes to; none below a leaf, or if a node is not of the level that
// it has to be of, at most, so that damaged ones end.
func (r *Reader) below(out []uint32, nodes []warmNode, above int, keys page.Set, end page.LSN) []uint32 {
	for i := range nodes {
		n := &nodes[i].node
		if n.level == 0 || int(n.level) >= above {
			continue
		}
		for _, kr := range keys.Ranges() {
			first, last := r.children(n, kr, end)
			for ; first <= last && len(out) < maxWarm; first++ {
				blk, ok := n.child(first, r.sum.indexRoot)
				if ok && (len(out) == 0 || out[len(out)-1] < blk) {
					out = append(out, blk)
				}
			}
		}
	}
	return out
}

// children gives the first and the last child of a node in which keys may be. Of one key it is the one that has its
// newest version below end.
func (r *Reader) children(n *treeNode, keys page.Range, end page.LSN) (first, last int) {
	var key [maxKeyLen]byte
	keys.Start.Put(key[:])
	one := keys.Start.Next() == keys.End
	if one {
		binary.BigEndian.PutUint64(key[page.KeySize:], uint64(end))
	}
	first, equal := n.search(key[:r.keyLen])
	if !equal && first > 0 {
		first--
	}
	if one {
		return first, first
	}
	clear(key[page.KeySize:])
	keys.End.Put(key[:])
	last, _ = n.search(key[:r.keyLen])
	return first, last - 1
}
