package legacy

// painted are some of a row of cells. More are added, none is taken away; that takes logarithmic time for each new one.
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
