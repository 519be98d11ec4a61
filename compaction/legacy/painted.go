package legacy

import (
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// cells number the stretches of keys between the borders of layers.
type cells []page.Key

func cellsOf(layers []compaction.Layer, which []int) cells {
	c := make(cells, 0, 2*len(which))
	for _, i := range which {
		l := &layers[i]
		c = append(c, l.Keys.Start, l.Keys.End)
		for _, m := range l.Moved {
			c = append(c, m.Start, m.End)
		}
	}
	slices.SortFunc(c, page.Key.Compare)
	return slices.Compact(c)
}

// of gives the cells from which to which keys lie, whose ends must be borders.
func (c cells) of(keys page.Range) (from, to int) {
	from, _ = slices.BinarySearchFunc(c, keys.Start, page.Key.Compare)
	to, _ = slices.BinarySearchFunc(c, keys.End, page.Key.Compare)
	return from, to
}

// painted are cells, to which more are added only. Both operations take logarithmic time for each cell that is new.
type painted struct {
	free []int32 // leads to the next cell that is not painted
	sum  []int32 // a Fenwick tree of those that are
}

func newPainted(cells int) *painted {
	p := &painted{free: make([]int32, cells+1), sum: make([]int32, cells+1)}
	for i := range p.free {
		p.free[i] = int32(i)
	}
	return p
}

func (p *painted) nextFree(i int) int {
	for int(p.free[i]) != i {
		p.free[i] = p.free[p.free[i]]
		i = int(p.free[i])
	}
	return i
}

// add paints the cells from from to to.
func (p *painted) add(from, to int) {
	for i := p.nextFree(from); i < to; i = p.nextFree(i) {
		p.free[i] = int32(i + 1)
		for k := i + 1; k < len(p.sum); k += k & -k {
			p.sum[k]++
		}
	}
}

// any reports whether one of the cells from from to to is painted.
func (p *painted) any(from, to int) bool { return p.before(to) > p.before(from) }

func (p *painted) before(i int) (n int32) {
	for ; i > 0; i &= i - 1 {
		n += p.sum[i]
	}
	return n
}
