package testkit

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Rand gives random numbers that can be had again: the seed is STRATA_SEED where that is set, else drawn,
// and is logged. stream tells apart those who draw by one seed.
func Rand(t testing.TB, stream uint64) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("STRATA_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("STRATA_SEED is %q: it has to be a number from 0 to 2^64-1", s)
		}
	}
	t.Logf("random numbers of seed %d; STRATA_SEED=%d draws them again", seed, seed)
	return rand.New(rand.NewPCG(seed, stream))
}
