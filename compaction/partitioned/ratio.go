package partitioned

import (
	"math"
	"math/bits"
)

// perByte is one, in the fixed point of densities.
const perByte = 1 << 20

// mulDiv is a*b/c, rounded down, of numbers of which none is negative, and c is not 0; math.MaxInt64 at most. What planners compute does
// not depend on how a machine rounds.
func mulDiv(a, b, c int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi >= uint64(c) {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, uint64(c))
	return int64(min(q, math.MaxInt64))
}

// lessProduct reports whether a*b < c*d, of numbers of which none is negative.
func lessProduct(a, b, c, d int64) bool {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	other, low := bits.Mul64(uint64(c), uint64(d))
	return hi < other || hi == other && lo < low
}
