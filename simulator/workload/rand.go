package workload

import "math/bits"

// Rand is a generator of random numbers (SplitMix64), small and the same everywhere.
type Rand struct{ state uint64 }

// NewRand begins a sequence; each seed and name gives another.
func NewRand(seed uint64, name string) *Rand {
	r := &Rand{seed}
	for _, c := range []byte(name) {
		r.state = r.Uint64() ^ uint64(c)
	}
	return r
}

// Uint64 gives any number.
func (r *Rand) Uint64() uint64 {
	r.state += 0x9E3779B97F4A7C15
	z := r.state
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// Below gives a number in [0, n), 0 for an n of 0.
func (r *Rand) Below(n uint64) uint64 {
	hi, _ := bits.Mul64(r.Uint64(), n)
	return hi
}

// Permille is true n times of 1000.
func (r *Rand) Permille(n int) bool { return n > 0 && r.Below(1000) < uint64(n) }
