package workload

import "math/bits"

// zipf draws ranks 0 to n-1 where rank i has a weight of (i+1)^-theta. Ranks are put into classes, alone where the weight
// falls fast and together where it differs by less than a percent; a class is drawn by the alias method.
type zipf struct {
	class []class
	limit []uint64 // of 2^32: below it the column's own class, else other
	other []uint32
	step  uint64 // ranks are scattered over keys: key = rank * step mod n
	n     uint64
}

type class struct{ lo, n uint64 }

const (
	aloneUpTo    = 128 // ranks below have a class each
	classGrowth  = 100 // a class of ranks from lo on has lo/classGrowth ranks
	fraction     = 32  // bits behind the point of logarithms
	weightShift  = 40
	aliasOne     = 1 << 32
	permilleOne  = 1000
	scatterStart = 0x9E3779B1 // an odd number near 2^32 divided by the golden ratio
)

func newZipf(n uint64, thetaPermille int, scatter bool) *zipf {
	z := &zipf{n: n, step: 1}
	var weights []uint64
	for lo := uint64(0); lo < n; {
		size := uint64(1)
		if lo >= aloneUpTo {
			size = min(max(lo/classGrowth, 1), n-lo)
		}
		z.class = append(z.class, class{lo, size})
		weights = append(weights, size*weight(lo+size/2+1, thetaPermille))
		lo += size
	}
	z.alias(weights)
	if scatter {
		z.step = scatterStart % n
		for gcd(z.step, n) != 1 {
			z.step++
		}
	}
	return z
}

// alias builds Walker's tables.
func (z *zipf) alias(weights []uint64) {
	n := uint64(len(weights))
	total := uint64(0)
	for _, w := range weights {
		total += w
	}
	z.limit, z.other = make([]uint64, n), make([]uint32, n)
	scaled := make([]uint64, n) // aliasOne is the average
	var small, large []uint32
	for i, w := range weights {
		hi, lo := bits.Mul64(w, n<<32)
		scaled[i], _ = bits.Div64(hi, lo, total)
		if scaled[i] < aliasOne {
			small = append(small, uint32(i))
		} else {
			large = append(large, uint32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		z.limit[s], z.other[s] = scaled[s], l
		if scaled[l] -= aliasOne - scaled[s]; scaled[l] < aliasOne {
			small, large = append(small, l), large[:len(large)-1]
		}
	}
	for _, i := range append(small, large...) {
		z.limit[i], z.other[i] = aliasOne, i
	}
}

func (z *zipf) next(r *Rand) uint64 {
	x := r.Uint64()
	hi, _ := bits.Mul64(x, uint64(len(z.class)))
	c := uint32(hi)
	if r.Uint64()>>32 >= z.limit[c] {
		c = z.other[c]
	}
	k := z.class[c]
	rank := k.lo
	if k.n > 1 {
		rank += r.Below(k.n)
	}
	if z.step == 1 {
		return rank
	}
	h, l := bits.Mul64(rank, z.step)
	_, rem := bits.Div64(h, l, z.n)
	return rem
}

// weight is 2^weightShift divided by rank to the power of theta.
func weight(rank uint64, thetaPermille int) uint64 {
	e := log2(rank) * uint64(thetaPermille) / permilleOne // with fraction bits
	whole := e >> fraction
	if whole >= weightShift {
		return 1
	}
	return max(1, exp2(weightShift<<fraction-e))
}

// log2 gives the binary logarithm with fraction bits, digit by digit from repeated squares.
func log2(x uint64) uint64 {
	n := uint64(bits.Len64(x) - 1)
	m := x << (63 - n) // in [2^63, 2^64): 1.63 fixed point
	out := n
	for range fraction {
		hi, _ := bits.Mul64(m, m) // 2.62
		out <<= 1
		if hi>>63 != 0 {
			out |= 1
			m = hi
		} else {
			m = hi << 1
		}
	}
	return out
}

// roots are the square root of 2, that of it, and so on, in 2.62 fixed point.
var roots = func() (all [fraction]uint64) {
	root := uint64(1) << 63
	for i := range all {
		root = sqrt(root)
		all[i] = root
	}
	return all
}()

// exp2 gives 2 to the power of x, which has fraction bits, as a product of roots of 2.
func exp2(x uint64) uint64 {
	m := uint64(1) << 62 // 2.62 fixed point
	for i := range fraction {
		if x>>(fraction-1-i)&1 != 0 {
			hi, lo := bits.Mul64(m, roots[i])
			m = hi<<2 | lo>>62
		}
	}
	whole := x >> fraction
	if whole >= 62 {
		return m << (whole - 62)
	}
	return m >> (62 - whole)
}

// sqrt gives the square root of a number in 2.62 fixed point.
func sqrt(x uint64) uint64 {
	lo, hi := uint64(0), uint64(1)<<63
	for hi-lo > 1 {
		mid := lo + (hi-lo)/2
		if h, l := bits.Mul64(mid, mid); h < x>>2 || h == x>>2 && l <= x<<62 {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
