package layer

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/page"
)

// leafSpot is a place in a leaf of the index, which is pinned: entry i is the first at or above a key.
type leafSpot struct {
	node          treeNode
	pin           cache.Pin
	i             int
	equal         bool
	blocks, loads int // index blocks on the way, those of them that were not in memory
}

// spot goes straight down the index, without the path that a cursor keeps to go on from there. The caller
// releases the pin. A Collector, if there is one, is told of what is not in memory.
func (r *Reader) spot(ctx context.Context, key []byte, c *Collector) (p leafSpot, err error) {
	blk := r.sum.indexRoot
	for above := maxTreeLevels; ; above = int(p.node.level) {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		var loaded bool
		if p.pin, loaded, err = r.indexBlock(ctx, blk, c); err != nil {
			return p, err
		}
		p.blocks++
		if loaded {
			p.loads++
		}
		if p.node, err = parseNode(p.pin.Bytes(), len(key)); err != nil {
			p.pin.Release()
			return p, r.corrupt(blk, "%v", err)
		}
		if level := int(p.node.level); blk != r.sum.indexRoot && level != above-1 {
			p.pin.Release()
			return p, r.corrupt(blk, "node of level %d where %d is expected", level, above-1)
		}
		p.i, p.equal = p.node.search(key)
		if p.node.level == 0 {
			return p, nil
		}
		if !p.equal && p.i > 0 {
			p.i--
		}
		child, ok := p.node.child(p.i, r.sum.indexRoot)
		p.pin.Release()
		if !ok {
			return p, r.corrupt(blk, "entry %d of an inner node is no block below the root, %d", p.i, r.sum.indexRoot)
		}
		blk = child
	}
}

// spot is the Reader's, and counts the blocks.
func (s *layerScan) spot(ctx context.Context, key []byte) (leafSpot, error) {
	p, err := s.entries.r.spot(ctx, key, s.c)
	s.c.path.indexBlocks += p.blocks
	s.c.path.indexLoads += p.loads
	return p, err
}

// imageAt gives the place of the image that the leaf has of k, which it has; false if more than the leaf is
// needed to tell, or something is wrong with it.
func (r *Reader) imageAt(p *leafSpot, k page.Key) (e entry, ok bool) {
	if p.i+1 == p.node.n {
		return e, false
	}
	e = entry{key: k, lsn: r.desc.LSNs.Start, willInit: true,
		start: int64(p.node.value(p.i)), end: int64(p.node.value(p.i + 1))}
	return e, r.placed(&e)
}

// at notes the image of one key. What needs more than the key's leaf, or looks wrong, is left to the cursor.
func (s *layerScan) at(ctx context.Context, k page.Key) error {
	var key [page.KeySize]byte
	k.Put(key[:])
	p, err := s.spot(ctx, key[:])
	if err != nil {
		return err
	}
	defer p.pin.Release()
	if !p.equal {
		return nil // what lies in other leaves is further from it
	}
	e, ok := s.entries.r.imageAt(&p, k)
	if !ok {
		return s.atSlowly(ctx, k)
	}
	s.add(&e)
	return nil
}

// placed reports whether an entry, and the next one, lie where values do.
func (r *Reader) placed(e *entry) bool {
	return e.start >= dataStart && e.start < e.end && e.end < r.dataEnd() && e.end-e.start <= maxPlace
}

// down notes the values of one key, newest first: what is older than the one that initializes is not even
// looked at. What needs more than one leaf, or looks wrong, is left to the cursor.
func (s *layerScan) down(ctx context.Context, k page.Key, lsns page.LSNRange) error {
	var key, found [maxKeyLen]byte
	k.Put(key[:])
	binary.BigEndian.PutUint64(key[page.KeySize:], uint64(lsns.End))
	p, err := s.spot(ctx, key[:])
	if err != nil {
		return err
	}
	defer p.pin.Release()
	if p.i == p.node.n {
		return s.downSlowly(ctx, k, lsns)
	}
	r := s.entries.r
	for next := int64(p.node.value(p.i) >> 1); p.i > 0; {
		p.i--
		p.node.copyKey(found[:], p.i)
		lsn := page.LSN(binary.BigEndian.Uint64(found[page.KeySize:]))
		if !bytes.Equal(found[:page.KeySize], key[:page.KeySize]) || lsn < lsns.Start {
			return nil
		}
		v := p.node.value(p.i)
		e := entry{key: k, lsn: lsn, willInit: v&1 == 1, start: int64(v >> 1), end: next}
		if lsn >= lsns.End || v > maxTreeValue || !r.placed(&e) {
			break
		}
		s.add(&e)
		if e.willInit {
			return nil
		}
		lsns.End, next = lsn, e.start
	}
	return s.downSlowly(ctx, k, lsns)
}
